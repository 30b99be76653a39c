"""The console in real Chromium, on a real server. Source: issue 2's main job; PROTOCOLS.md 2."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import House, NewContext
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
    await expect(alice.messages.nth(3)).to_contain_text("Cut short")
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
        await alice.page.locator("#chat-menu summary").click()
        await alice.page.get_by_role("button", name="Rename").click()
        await expect(alice.page.get_by_role("dialog")).to_be_visible()
        await revoke(root)
        await expect(alice.page.get_by_role("dialog")).to_be_hidden()
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
    alice = await Visitor.enter(await new_context(), house, "alice")
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
    alice = await Visitor.enter(await new_context(), house, "alice")
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
    alice = await Visitor.enter(await new_context(), house, "alice")
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
    one = await Visitor.enter(context, house, "alice")
    await one.say("hello")
    await one.hears("hello", "hello")
    two = await Visitor.enter(context, house, "alice")
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
    alice = await Visitor.enter(await new_context(), house, "alice")
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
    alice = await Visitor.enter(await new_context(), house, "alice")
    await alice.say(BROKEN)
    await alice.hears(BROKEN, BROKEN)
    await alice.page.locator("#log summary", has_text="agent run.completed").click()
    await expect(alice.page.locator("#log")).to_contain_text("onerror")
    await expect(alice.page.locator("main img, #log img, main b")).to_have_count(0)


RUNS = """
async () => {
  const { Runs } = await import("/static/realtime/runs.js");
  const runs = new Runs();
  const began = { type: "run.started", runId: "1", sessionKey: "s" };
  const partial = () => runs.of("s").map((run) => run.partial);
  runs.adopt("s", "1", []); // a reading tells of the run before its own event does
  runs.hear(began);
  const told = [partial()];
  runs.adopt("s", "1", []);
  told.push(partial());
  runs.doubt(); // the line is lost
  told.push(partial());
  runs.hear({ ...began, runId: "2" }); // it begins after that
  told.push(partial());
  return told;
}
"""


async def test_a_run_is_partial_only_when_its_beginning_or_the_line_was_missed(
    house: House, new_context: NewContext
) -> None:
    page = (await Visitor.arrive(await new_context(), house.url)).page
    assert await page.evaluate(RUNS) == [[False], [False], [True], [True, False]]
