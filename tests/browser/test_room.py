"""What is in the console's room: the panels, the chat's menu, files. Source: issue 3, Pages."""

from __future__ import annotations

import os
import re

import pytest
from playwright.async_api import BrowserContext, Page, expect

from tests import samples
from tests.browser.conftest import House, NewContext, Watch
from tests.browser.people import Visitor
from tests.live.client import Client

pytestmark = [pytest.mark.browser, pytest.mark.live]

BROKEN = "<img src=x onerror=\"document.title='broken'\">"


async def test_the_event_log_stands_open_where_there_is_room(
    house: House, new_context: NewContext
) -> None:
    alice = await Visitor.enter(await new_context(1440, 900), house, "alice")
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
    alice = await Visitor.enter(context, house, "alice")
    name = "<img src=x onerror=alert(1)>.png"
    picture = samples.png(rest=os.urandom(300_000))
    await throttle(context, alice.page, bytes_per_s=20_000)
    picker = alice.page.locator("#picker")
    await picker.set_input_files({"name": name, "mimeType": "image/png", "buffer": picture})
    bar = alice.page.get_by_role("progressbar", name="Upload of <img")
    first = await moved(alice.page, beyond=0)
    assert first < await moved(alice.page, beyond=first) <= 1
    await alice.say("too soon")
    await expect(alice.notice).to_contain_text("still on its way")
    await throttle(context, alice.page, bytes_per_s=-1)  # that was to be seen
    await expect(alice.attachments).to_have_class(re.compile("ready"))
    await expect(bar).to_be_hidden()
    await expect(alice.messages).to_have_count(0)

    await picker.set_input_files([NOT_AN_IMAGE])
    await expect(alice.attachments.nth(1)).to_contain_text("was not uploaded")
    await alice.say("look at this")
    await expect(alice.attachments).to_have_count(1)  # what has failed is not swept away
    await alice.page.get_by_role("button", name="Remove notes.png").click()
    await expect(alice.attachments).to_have_count(0)
    shown = alice.messages.first.get_by_role("img", name=name)
    await expect(shown).to_be_visible()
    await expect(alice.messages.first.locator("p")).to_have_text("look at this")
    await expect(shown).to_have_js_property("naturalWidth", 1)  # it was fetched, and is a picture

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


async def test_an_administrator_follows_the_servers_log_and_an_operator_has_none(
    house: House, new_context: NewContext
) -> None:
    root = await Visitor.enter(await new_context(1440, 900), house, "root", "admin")
    await root.page.locator("#server-title").press("Enter")
    await expect(root.page.locator("#server-state")).to_have_text("Listening.")
    alice = await Visitor.enter(await new_context(), house, "alice")
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
    state = root.page.locator("#server-state")
    await state.evaluate("one => { one.textContent = ''; }")
    await root.page.get_by_label("Level").select_option("error")
    await expect(state).to_have_text("Listening.")
    await alice.say("a third time")
    await alice.hears(*["hello"] * 2, *["again"] * 2, *["a third time"] * 2)
    await expect(lines).to_have_count(2)

    await root.page.get_by_role("button", name="Pause").click()
    await root.page.get_by_role("button", name="Disconnect").click()
    await root.connect("root", house.key("root"))
    await expect(root.page.locator("#server-title")).to_be_visible()
    await expect(root.page.locator("#pause")).to_have_attribute("aria-pressed", "false")


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
    alice = await Visitor.enter(context, house, "alice")
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
