"""The console in real Chromium, on a real server. Source: issue 2's main job; PROTOCOLS.md 2."""

from __future__ import annotations

import os
import re

import pytest
from playwright.async_api import BrowserContext, Page, expect

from tests import samples
from tests.browser.conftest import House, NewContext, Watch
from tests.browser.people import Administrator, Visitor
from tests.live.client import Client

pytestmark = [pytest.mark.browser, pytest.mark.live]

BROKEN = "<img src=x onerror=\"document.title='broken'\"> <b>bold</b>"


async def test_pair_be_approved_in_the_admin_chat_abort_reload_and_find_the_history(
    house: House, new_context: NewContext
) -> None:
    alice = await Visitor.arrive(await new_context(), house.url)
    await alice.connect("alice")
    code = await alice.code()

    boss = await Administrator.log_in(await new_context(), house.url, *house.admin)
    await boss.decide(code, "Approve")
    await alice.is_in("alice", "operator")

    await alice.say("hello over there")
    await alice.hears("hello over there", "hello over there")

    await alice.say("slow 30")
    await expect(alice.messages.nth(3)).to_have_class(re.compile("running"))
    await expect(alice.messages.nth(3).locator("p")).not_to_be_empty()  # it streams
    await alice.abort.click()
    await expect(alice.notice).to_have_text("Aborted.")
    await expect(alice.abort).to_be_hidden()
    before = await alice.messages.locator("p").all_inner_texts()

    await alice.page.reload()
    await alice.is_in("alice", "operator")
    await alice.hears(*before)
    await expect(alice.messages.nth(3)).to_contain_text("Aborted")
    await expect(alice.sessions).to_have_count(1)
    await expect(alice.sessions).to_have_attribute("aria-current", "true")


async def test_a_revoked_device_is_shown_out_and_asks_for_nothing_by_itself(
    house: House, new_context: NewContext
) -> None:
    alice = await Visitor.arrive(await new_context(), house.url)
    async with Client(house.server.ws_url) as root:
        await root.ask("connect", token=house.key("root"))
        await pair(alice, root)
        await alice.say("something private")
        await alice.hears("something private", "something private")
        await revoke(root)
        await expect(alice.page.locator("#room")).to_be_hidden()
        await expect(alice.messages).to_have_count(0)
        await expect(alice.page.locator("#log > li")).to_have_count(1)  # why it ended, no more
        await stays_at_the_door(alice, root)

        # Revoked while nobody looked: the same.
        await pair(alice, root)
        await alice.page.goto("about:blank")
        await revoke(root)
        await alice.page.goto(house.url)
        await stays_at_the_door(alice, root)


async def pair(visitor: Visitor, admin: Client) -> None:
    await visitor.connect("alice")
    await admin.ask("device.pair.approve", code=await visitor.code())
    await visitor.is_in("alice", "operator")


async def revoke(admin: Client) -> None:
    [device] = (await admin.ask("device.pair.list"))["paired"]
    await admin.ask("device.pair.revoke", senderId=device["sender_id"], channel="browser")


async def stays_at_the_door(visitor: Visitor, admin: Client) -> None:
    """Now and after a reload, told why, with a button, and nothing was asked of an admin."""
    for _ in range(2):
        await expect(visitor.page.get_by_role("alert")).to_contain_text("not paired any more")
        await expect(visitor.page.get_by_role("button", name="Pair this browser")).to_be_visible()
        await visitor.page.reload()
    assert (await admin.ask("device.pair.list"))["pending"] == []


async def test_a_stranger_cannot_read_a_session_by_its_key(
    house: House, new_context: NewContext
) -> None:
    alice = await Visitor.arrive(await new_context(), house.url)
    await alice.connect("alice", house.key("alice"))
    await alice.is_in("alice", "operator")
    await alice.say("only for me")
    await alice.hears("only for me", "only for me")
    key = await alice.session_key()

    bob_context = await new_context()
    bob = await Visitor.arrive(bob_context, house.url)
    await bob.page.evaluate("key => sessionStorage.setItem('trunkline.session', key)", key)
    await bob.connect("bob", house.key("bob"))
    await bob.is_in("bob", "operator")
    await expect(bob.notice).to_have_text("session does not belong to user")
    await expect(bob.messages).to_have_count(0)
    await expect(bob.sessions).to_have_count(0)


async def test_another_accounts_admin_does_not_find_the_session(
    house: House, new_context: NewContext
) -> None:
    alice = await Visitor.arrive(await new_context(), house.url)
    await alice.connect("alice", house.key("alice"))
    await alice.is_in("alice", "operator")
    await alice.say("not for other accounts")
    await alice.hears("not for other accounts", "not for other accounts")
    key = await alice.session_key()

    carol = await Visitor.arrive(await new_context(), house.url)
    await carol.page.evaluate("key => sessionStorage.setItem('trunkline.session', key)", key)
    await carol.connect("carol", house.key("carol"))
    await carol.is_in("carol", "admin")
    # The key is free in her account: what she says there begins a session of her own.
    await carol.say("hers")
    await carol.hears("hers", "hers")
    await expect(carol.sessions).to_have_count(1)
    await carol.page.reload()
    await carol.connect("carol", house.key("carol"))
    await carol.hears("hers", "hers")
    await alice.hears("not for other accounts", "not for other accounts")


async def test_an_administrator_reads_what_is_in_the_account(
    house: House, new_context: NewContext
) -> None:
    alice = await Visitor.arrive(await new_context(), house.url)
    await alice.connect("alice", house.key("alice"))
    await alice.is_in("alice", "operator")
    await alice.say("for the record")
    await alice.hears("for the record", "for the record")

    boss = await Visitor.arrive(await new_context(), house.url)
    await boss.connect("boss", house.token)
    await boss.is_in("boss", "admin")
    await boss.sessions.first.click()
    await boss.hears("for the record", "for the record")


async def test_every_tab_of_a_person_sees_the_run_and_any_may_abort_it(
    house: House, new_context: NewContext
) -> None:
    context = await new_context()
    one = await Visitor.arrive(context, house.url)
    await one.connect("alice", house.key("alice"))
    await one.is_in("alice", "operator")
    await one.say("hello")
    await one.hears("hello", "hello")
    two = await Visitor.arrive(context, house.url)
    await two.connect("alice", house.key("alice"))
    await two.is_in("alice", "operator")
    await two.sessions.first.click()
    await two.hears("hello", "hello")

    await one.say("slow 30")
    await expect(two.messages).to_have_count(4)
    await two.abort.click()
    for tab in (one, two):
        await expect(tab.notice).to_have_text("Aborted.")
        await expect(tab.abort).to_be_hidden()


async def test_what_is_said_during_a_run_goes_into_it(
    house: House, new_context: NewContext
) -> None:
    alice = await Visitor.arrive(await new_context(), house.url)
    await alice.connect("alice", house.key("alice"))
    await alice.is_in("alice", "operator")
    await alice.say("slow 30")
    await expect(alice.abort).to_be_visible()
    await alice.say("and this too")
    await expect(alice.notice).to_have_text("Passed on to the running answer.")
    await alice.abort.click()
    await expect(alice.abort).to_be_hidden()
    await expect(alice.messages.filter(has_text="and this too").first).to_be_visible()


async def test_a_wrong_token_ends_at_the_door_and_is_kept_nowhere(
    house: House, new_context: NewContext
) -> None:
    # A link must not be able to send a token elsewhere: what its query says is not read.
    alice = await Visitor.arrive(
        await new_context(), house.url, query="?url=ws://127.0.0.1:9/&gatewayUrl=ws://127.0.0.1:9/"
    )
    sockets: list[str] = []
    alice.page.on("websocket", lambda socket: sockets.append(socket.url))
    await alice.connect("alice", "not-the-token")
    await expect(alice.page.get_by_role("alert")).to_contain_text("valid token or active pairing")
    assert sockets == [house.url.replace("http", "ws") + "/ws"]
    stores = "JSON.stringify([localStorage, sessionStorage, location.href, document.cookie])"
    assert "not-the-token" not in await alice.page.evaluate(stores)
    await expect(alice.page.get_by_label("Gateway token")).to_be_empty()


async def test_text_is_never_markup(house: House, new_context: NewContext) -> None:
    alice = await Visitor.arrive(await new_context(), house.url)
    await alice.connect("alice", house.key("alice"))
    await alice.is_in("alice", "operator")
    await alice.say(BROKEN)
    await alice.hears(BROKEN, BROKEN)
    await alice.page.locator("#log summary", has_text="agent run.completed").click()
    await expect(alice.page.locator("#log")).to_contain_text("onerror")
    await expect(alice.page.locator("main img, #log img, main b")).to_have_count(0)


async def test_the_connection_comes_back_by_itself_and_the_history_with_it(
    house: House, new_context: NewContext, watch: Watch
) -> None:
    watch.expected.append("WebSocket connection to")  # what Chromium says while nobody listens
    alice = await Visitor.arrive(await new_context(), house.url)
    await alice.connect("alice", house.key("alice"))
    await alice.is_in("alice", "operator")
    await alice.say("still here?")
    await alice.hears("still here?", "still here?")
    house.restart(meanwhile_alice_hears="news", in_session=await alice.session_key())
    await alice.is_in("alice", "operator", within_s=30)  # the fifth delay may be 16 s
    await alice.hears("still here?", "still here?", "news")
    await alice.say("again")
    await alice.hears("still here?", "still here?", "news", "again", "again")


async def test_the_event_log_stands_open_where_there_is_room(
    house: House, new_context: NewContext
) -> None:
    alice = await Visitor.arrive(await new_context(1440, 900), house.url)
    await alice.connect("alice", house.key("alice"))
    await alice.is_in("alice", "operator")
    await expect(alice.page.locator("#log")).to_be_visible()
    await alice.page.set_viewport_size({"width": 390, "height": 844})
    await expect(alice.page.locator("#log")).to_be_hidden()


async def test_a_telephone_and_a_keyboard_are_enough(house: House, new_context: NewContext) -> None:
    alice = await Visitor.arrive(await new_context(390, 844), house.url)
    keyboard, page = alice.page.keyboard, alice.page
    await page.get_by_label("User id").focus()
    await keyboard.type("alice")
    await keyboard.press("Tab")
    await keyboard.type(house.key("alice"))
    await keyboard.press("Enter")
    await alice.is_in("alice", "operator")
    await expect(page.get_by_label("Message", exact=True)).to_be_focused()
    await keyboard.type("w" * 100)
    await keyboard.press("Enter")
    await alice.hears("w" * 100, "w" * 100)
    await keyboard.type("slow 30")
    await keyboard.press("Enter")
    await expect(alice.abort).to_be_visible()
    for name in ("Attach", "Send"):
        await keyboard.press("Tab")
        await expect(page.get_by_role("button", name=name)).to_be_focused()
    await keyboard.press("Tab")
    await expect(alice.abort).to_be_focused()
    await keyboard.press("Enter")
    await expect(alice.notice).to_have_text("Aborted.")
    await expect(page.get_by_label("Message", exact=True)).to_be_focused()
    assert await page.evaluate("document.documentElement.scrollWidth") == 390

    log = page.locator("#log")
    await expect(log).to_be_hidden()
    for _ in ("Attach", "Send", "Event log"):
        await keyboard.press("Tab")
    await expect(page.locator("#log-title")).to_be_focused()
    await keyboard.press("Enter")
    await expect(log).to_be_visible()
    await expect(log).to_contain_text("run.cancelled")


NOT_AN_IMAGE = {"name": "notes.png", "mimeType": "image/png", "buffer": b"just words"}


async def test_a_file_goes_up_with_its_progress_seen_and_is_for_its_owner_alone(
    house: House, new_context: NewContext, watch: Watch
) -> None:
    watch.expected.append("415")  # what Chromium says of the refused file
    context = await new_context()
    alice = await Visitor.arrive(context, house.url)
    await alice.connect("alice", house.key("alice"))
    await alice.is_in("alice", "operator")
    name = "<img src=x onerror=alert(1)>.png"
    picture = samples.png(rest=os.urandom(300_000))
    await throttle(context, alice.page, bytes_per_s=150_000)
    picker = alice.page.locator("#picker")
    await picker.set_input_files({"name": name, "mimeType": "image/png", "buffer": picture})
    bar = alice.page.get_by_role("progressbar", name="Upload of <img")
    first = await moved(alice.page, beyond=0)
    assert first < await moved(alice.page, beyond=first) <= 1
    await alice.say("too soon")
    await expect(alice.notice).to_contain_text("still on its way")
    await expect(alice.attachments).to_have_class(re.compile("ready"))
    await expect(bar).to_be_hidden()
    await expect(alice.messages).to_have_count(0)

    await picker.set_input_files([NOT_AN_IMAGE])
    await expect(alice.attachments.nth(1)).to_contain_text("was not uploaded")
    await alice.page.get_by_role("button", name="Remove notes.png").click()
    await alice.say("look at this")
    shown = alice.messages.first.get_by_role("img", name=name)
    await expect(shown).to_be_visible()
    await expect(alice.messages.first.locator("p")).to_have_text("look at this")
    assert await shown.evaluate("image => image.decode().then(() => image.naturalWidth)") == 1

    async with Client(house.server.ws_url) as wire:
        await wire.ask("connect", token=house.key("alice"))
        key = await alice.session_key()
        history = await wire.ask("chat.history", sessionKey=key)
    [media] = history["messages"][0]["media_refs"]
    assert (media["kind"], media["mime_type"]) == ("image", "image/png")
    statuses = {
        who: (await fetched(context, house, who, media["id"]))
        for who in ("alice", "root", "bob", "carol")
    }
    assert statuses == {"alice": 200, "root": 200, "bob": 404, "carol": 404}


async def throttle(context: BrowserContext, page: Page, *, bytes_per_s: int) -> None:
    network = await context.new_cdp_session(page)
    rates = {"offline": False, "latency": 0, "downloadThroughput": -1}
    limits = {**rates, "uploadThroughput": bytes_per_s}
    await network.send("Network.emulateNetworkConditions", limits)


async def moved(page: Page, *, beyond: float) -> float:
    """The share that is up, once it is more than `beyond`."""
    share = "past => (share => share > past && share)(document.querySelector('progress').position)"
    position: float = await (await page.wait_for_function(share, arg=beyond)).json_value()
    return position


async def fetched(context: BrowserContext, house: House, who: str, media_id: str) -> int:
    headers = {"Authorization": f"Bearer {house.key(who)}"}
    return (await context.request.get(f"{house.url}/v1/media/{media_id}", headers=headers)).status


async def test_what_is_typed_offline_waits_and_is_said_exactly_once(
    house: House, new_context: NewContext, watch: Watch
) -> None:
    watch.expected.append("WebSocket connection to")
    context = await new_context(390, 844)
    alice = await Visitor.arrive(context, house.url)
    await alice.connect("alice", house.key("alice"))
    await alice.is_in("alice", "operator")
    await alice.say("before")
    await alice.hears("before", "before")

    house.server.kill()
    line = alice.page.get_by_role("region", name="Connection")
    await expect(line).to_contain_text("The connection is lost. Trying again")
    await context.set_offline(True)
    await expect(line).to_contain_text("This device seems to be offline")
    await alice.say("one")
    await alice.say("one")  # meant twice
    await alice.say("two")
    await expect(line).to_contain_text("3 messages wait to be sent.")
    mine = alice.page.locator("#messages li[data-role=user]")
    await expect(mine).to_contain_text(["before", *["Waits for the connection"] * 3])
    assert await alice.page.evaluate("document.documentElement.scrollWidth") == 390

    house.server.start()
    await context.set_offline(False)  # it does not wait for the countdown
    await alice.is_in("alice", "operator")
    await expect(line).to_be_hidden()
    await expect(mine.locator("p")).to_have_text(["before", "one", "one", "two"])
    await expect(alice.messages.filter(has_text="two")).to_have_count(2)  # the last was answered
    await expect(alice.abort).to_be_hidden()
    await expect(alice.page.locator("#messages .waiting")).to_have_count(0)
    async with Client(house.server.ws_url) as wire:
        await wire.ask("connect", token=house.key("alice"))
        history = await wire.ask("chat.history", sessionKey=await alice.session_key())
    said = [m["content"] for m in history["messages"] if m["role"] == "user"]
    assert said == ["before", "one", "one", "two"]


async def test_what_was_not_sent_is_given_back_when_the_line_is_given_up(
    house: House, new_context: NewContext, watch: Watch
) -> None:
    watch.expected.append("WebSocket connection to")
    alice = await Visitor.arrive(await new_context(), house.url)
    await alice.connect("alice", house.key("alice"))
    await alice.is_in("alice", "operator")
    house.server.kill()
    await alice.say("not yet")
    await alice.page.get_by_role("button", name="Disconnect").click()
    await expect(alice.messages).to_have_count(0)
    house.server.start()
    await alice.connect("alice", house.key("alice"))
    await expect(alice.page.get_by_label("Message", exact=True)).to_have_value("not yet")

    await alice.page.get_by_role("button", name="Disconnect").click()
    await alice.connect("bob", house.key("bob"))  # at the same screen: nothing is left for him
    await expect(alice.page.get_by_label("Message", exact=True)).to_have_value("")


async def test_an_administrator_follows_the_servers_log_and_an_operator_has_none(
    house: House, new_context: NewContext
) -> None:
    root = await Visitor.arrive(await new_context(1440, 900), house.url)
    await root.connect("root", house.key("root"))
    await root.is_in("root", "admin")
    await root.page.locator("#server-title").press("Enter")
    await expect(root.page.locator("#server-state")).to_have_text("Listening.")
    alice = await Visitor.arrive(await new_context(), house.url)
    await alice.connect("alice", house.key("alice"))
    await alice.is_in("alice", "operator")
    await expect(alice.page.locator("#server-panel")).to_be_hidden()
    await alice.say("hello")
    await alice.hears("hello", "hello")
    lines = root.page.locator("#server-log li", has_text="run.ended")
    await expect(lines).to_have_count(1)

    await root.page.get_by_role("button", name="Pause").click()
    await alice.say("again")
    await expect(root.page.locator("#server-state")).to_contain_text("held back")
    await expect(lines).to_have_count(1)
    await root.page.get_by_role("button", name="Pause").click()
    await expect(lines).to_have_count(2)
    await root.page.get_by_label("Level").select_option("error")
    await alice.say("a third time")
    await alice.hears(*["hello"] * 2, *["again"] * 2, *["a third time"] * 2)
    await expect(lines).to_have_count(2)


async def test_a_chat_is_renamed_compacted_and_deleted_by_keyboard(
    house: House, new_context: NewContext
) -> None:
    alice = await Visitor.arrive(await new_context(390, 844), house.url)
    page, keyboard = alice.page, alice.page.keyboard
    await alice.connect("alice", house.key("alice"))
    await alice.is_in("alice", "operator")
    menu = page.locator("#chat-menu summary")
    await expect(menu).to_be_hidden()  # there is nothing yet to act upon
    for text in ("first", "second", "third"):
        await alice.say(text)
        await alice.hears(
            *[one for one in ("first", "second", "third") for _ in "ab"][: _upto(text)]
        )
    await menu.press("Enter")
    await keyboard.press("Tab")
    await keyboard.press("Enter")
    await expect(page.get_by_label("Name", exact=True)).to_be_focused()
    await keyboard.type("Ordinals")
    await keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Ordinals")).to_be_visible()
    await expect(menu).to_be_focused()

    await menu.press("Enter")
    await page.get_by_role("button", name="Compact").press("Enter")
    await page.locator("#ask-yes").press("Enter")
    await expect(alice.notice).to_have_text("Compacted: 4 of 6 messages stay.")
    await alice.hears("second", "second", "third", "third")

    await menu.press("Enter")
    await page.get_by_role("button", name="Delete").press("Enter")
    await keyboard.press("Escape")
    await alice.hears("second", "second", "third", "third")
    await menu.press("Enter")
    await page.get_by_role("button", name="Delete").press("Enter")
    await page.locator("#ask-yes").press("Enter")
    await expect(alice.messages).to_have_count(0)
    await expect(alice.sessions).to_have_count(0)


def _upto(text: str) -> int:
    return 2 * (1 + ("first", "second", "third").index(text))


async def test_a_message_from_an_administrator_is_shown_as_text(
    house: House, new_context: NewContext
) -> None:
    context = await new_context()
    alice = await Visitor.arrive(context, house.url)
    await alice.connect("alice", house.key("alice"))
    await alice.is_in("alice", "operator")
    root = {"Authorization": f"Bearer {house.key('root')}"}
    rows = await (await context.request.get(f"{house.url}/api/connections/", headers=root)).json()
    [connection] = [row["id"] for row in rows["results"] if row["user"] == "alice"]
    sent = await context.request.post(
        f"{house.url}/api/connections/{connection}/message/", headers=root, data={"text": BROKEN}
    )
    assert sent.ok
    shown = alice.page.get_by_role("region", name="Message from an administrator")
    await expect(shown.get_by_role("alert")).to_have_text(f"root: {BROKEN}")
    await shown.get_by_role("button", name="Dismiss").click()
    await expect(shown).to_be_hidden()
    await expect(alice.page.get_by_label("Message", exact=True)).to_be_focused()
