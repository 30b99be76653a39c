"""The page of sessions: watch, steer and answer one from a browser. Source: issue 6, Console."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Literal

import jwt
import pytest
from playwright.async_api import Route, expect

from tests.browser.conftest import PASSWORD, House, NewContext, Watch
from tests.browser.people import Visitor
from tests.browser.sessions.reader import ASKED, Reader, answered, ask, tool_says, use_tool
from tests.browser.test_every_page import judge
from tests.browser.test_live_pages import GIVE_PASSWORDS
from tests.live.client import Client
from tests.live.made import a_key, a_session
from tests.live.viewer import Viewer
from tests.live.worker import Worker
from tests.services import FaultProxy, Serve
from tests.services.gateway import SECRETS

pytestmark = [pytest.mark.browser, pytest.mark.live, pytest.mark.timeout(150)]


@pytest.mark.parametrize("cut", ["rst", "blackhole"])
async def test_asked_allowed_streamed_and_cut_off_for_ten_seconds_it_comes_back_by_itself(
    server: Serve,
    worker: Worker,
    session: str,
    new_context: NewContext,
    watch: Watch,
    cut: Literal["rst", "blackhole"],
) -> None:
    watch.expected += ["WebSocket connection to", "Failed to load resource: net::ERR_"]
    with FaultProxy("127.0.0.1", server.port) as network:
        there = f"http://127.0.0.1:{network.port}"
        alice = await Reader.arrive(await new_context(390, 844), there, "alice", session)
        await alice.say("clean up, please")
        await worker.asked("clean up, please")
        await use_tool(worker, "a-1", **ASKED)
        await ask(worker, "q-1", **ASKED)

        # The worker asks, the person allows.
        await expect(alice.question).to_contain_text("rm -r build")
        await expect(alice.page).to_have_title("(1) Sessions · Trunkline")
        assert await judge(alice.page, "a question") == []
        await alice.page.set_viewport_size({"width": 390, "height": 844})
        await alice.button("Allow").click()
        assert await answered(worker, "q-1") == {"behavior": "allow", "updatedInput": ASKED}
        await expect(alice.question).to_have_count(0)
        await expect(alice.page).to_have_title("Sessions · Trunkline")
        await tool_says(worker, "a-2", "removed 12 files")

        # The answer streams, as markdown.
        await worker.stream("All **clean**. ")
        await expect(alice.items.last.locator("strong")).to_have_text("clean")
        await expect(alice.button("Interrupt")).to_be_visible()

        # The network is cut for ten seconds, and the page says so.
        network.mode = cut
        begun = await alice.page.evaluate("performance.now()")
        await worker.stream("More follows.")
        await worker.answer("All **clean**. More follows.", "a-3")
        await worker.end("All clean.", "r-1")
        await alice.say("and then?")  # into a line that may be dead: that is found out at once
        await expect(alice.line).to_contain_text("The connection is lost.", timeout=15_000)
        await expect(alice.items.last).to_contain_text("Not stored yet")
        await expect(alice.line).to_contain_text("1 message waits to be sent.")
        assert await judge(alice.page, "cut off") == []
        await alice.page.wait_for_function("(cut) => performance.now() - cut > 10_000", arg=begun)
        await expect(alice.line).to_be_visible()
        network.mode = "pass"

        # It comes back by itself: all that was missed, once, in order, and what was typed is said.
        await expect(alice.line).to_be_hidden(timeout=60_000)
        await worker.asked("and then?")
        await expect(alice.notice).to_contain_text("nothing was missed")
        await expect(alice.items).to_have_text(
            [
                re.compile("clean up, please"),
                re.compile("I clean up first.*Bash.*rm -r build.*done", re.DOTALL),
                re.compile("All clean. More follows."),
                re.compile("and then?"),
            ]
        )
        await expect(alice.page.locator("#messages .waiting")).to_have_count(0)
        said = [f for f in worker.frames if f["type"] == "user"]
        assert [f["message"]["content"] for f in said] == ["clean up, please", "and then?"]
        tool = alice.page.locator(".tool")
        assert await tool.get_attribute("open") is None, "tools are folded"
        await tool.locator("summary").click()
        await expect(tool).to_contain_text("removed 12 files")
        assert await judge(alice.page, "a session") == []


async def test_who_watches_is_seen_and_the_first_answer_settles_a_question_for_all(
    house: House, worker: Worker, session: str, new_context: NewContext
) -> None:
    alice = await Reader.arrive(await new_context(), house.url, "alice", session)
    root = await Reader.arrive(await new_context(), house.url, "root", session)
    everyone = "Watching: alice, root · Worker: alice"
    await expect(root.page.locator("#here")).to_have_text(everyone)
    await expect(alice.page.locator("#here")).to_have_text(everyone, timeout=60_000)
    await alice.say("go")
    await worker.asked("go")
    await ask(worker, "q-2", **ASKED)
    await expect(alice.question).to_be_visible()
    await root.page.get_by_label("Why not").fill("not on a Friday")
    await root.button("Deny").click()
    assert await answered(worker, "q-2") == {"behavior": "deny", "message": "not on a Friday"}
    for reader in (alice, root):
        await expect(reader.question).to_have_count(0)

    # A question that is open is seen by who comes later; one that is withdrawn, by nobody.
    await ask(worker, "q-3", **ASKED)
    await expect(alice.question).to_be_visible()
    await alice.page.reload()
    again = await Reader.arrive(await new_context(), house.url, "alice", session)
    await expect(again.question).to_be_visible()
    await worker.send({"type": "control_cancel_request", "request_id": "q-3"})
    await expect(again.question).to_have_count(0)


async def test_a_turn_is_interrupted_and_says_so(
    house: House, server: Serve, new_context: NewContext
) -> None:
    session = a_session(server, "interrupted")
    alice = await Reader.arrive(await new_context(), house.url, "alice", session)
    await alice.say("slow 100")
    await expect(alice.items.last).to_contain_text("3")
    await alice.button("Interrupt").click()
    await expect(alice.items.last).to_have_text(
        re.compile("The turn ended: the run was cancelled.")
    )
    await expect(alice.items.nth(1)).to_contain_text("1 2 3")
    await expect(alice.button("Interrupt")).to_be_hidden()
    await expect(alice.page.get_by_label("Message", exact=True)).to_be_focused()


async def test_of_a_long_session_the_newest_are_shown_and_it_says_so(
    serve: Callable[..., Serve], new_context: NewContext
) -> None:
    server = serve(database="sqlite", SESSION_REPLAY_MAX="6")
    server.run("shell", "--no-imports", "-c", GIVE_PASSWORDS)
    async with Client(server.ws_url) as wire:
        await wire.ask("connect", token=House(server).key("alice"))
        for number in range(4):
            await wire.ask("chat.send", message=f"word {number}", sessionKey="long")
    session = a_session(server, "short")
    alice = await Reader.arrive(await new_context(), server.url, "alice", session)
    await expect(alice.items).to_have_count(0)
    await alice.page.locator("#sessions button", has_text="word 0").click()
    said = [f"{who}: word {number}" for number in (2, 3) for who in ("user", "assistant")]
    newest = "Here are the newest 6 events; earlier ones are not shown."
    await expect(alice.items).to_have_text([newest, *said])


async def test_what_001_says_is_seen_and_a_new_session_is_begun_here(
    house: House, new_context: NewContext
) -> None:
    async with Client(house.server.ws_url) as wire:
        await wire.ask("connect", token=house.key("alice"))
        await wire.ask("chat.send", message="from 001", sessionKey="of-001")
        page = (await Reader.arrive(await new_context(), house.url, "alice")).page
        alice = Reader(page)
        await page.locator("#sessions button", has_text="from 001").click()
        await expect(alice.items).to_have_text(["user: from 001", "assistant: from 001"])
        await wire.ask("chat.send", message="and more", sessionKey="of-001")
        await expect(alice.items).to_have_count(4)

    await alice.button("New session").click()
    await expect(alice.items).to_have_count(0)
    await alice.say("<img src=x onerror=\"document.title='broken'\"> *hm*")
    await expect(alice.items).to_have_count(2)
    await expect(alice.items.first).to_contain_text("*hm*")
    await expect(alice.items.last.locator("em")).to_have_text("hm")
    await expect(page.locator("#messages img")).to_have_count(0)
    await expect(page.locator("#sessions [aria-current]")).to_contain_text("<img")
    assert await page.title() == "Sessions · Trunkline"
    await page.get_by_role("button", name="Disconnect").click()
    await expect(alice.items).to_have_count(0)
    await expect(page.locator("#sessions li")).to_have_count(0)


async def test_who_may_not_is_told_so_and_what_they_typed_is_given_back(
    house: House, session: str, new_context: NewContext, watch: Watch
) -> None:
    watch.expected += ["401", "404"]
    page = (await Reader.arrive(await new_context(), house.url, "alice", password="wrong")).page
    await expect(page.get_by_role("alert")).to_be_visible()
    await expect(page.locator("#room")).to_be_hidden()

    stranger = await Reader.arrive(await new_context(), house.url, "bob")
    await expect(stranger.page.locator("#room")).to_be_visible()
    await stranger.page.evaluate("(id) => { location.hash = id; }", session)
    await expect(stranger.page.locator("#chat-title")).to_have_text("No such session")
    await expect(stranger.page.get_by_label("Message", exact=True)).to_be_hidden()

    page = await (await new_context()).new_page()
    await page.goto(f"{house.url}/sessions/#{session}")
    await page.get_by_text("instead").click()
    await page.locator("#token").fill(a_key(house.server, "operator.read"))
    await page.get_by_role("button", name="Connect").click()
    await expect(page.locator("#measure")).to_be_visible()
    reader = Reader(page)
    await reader.say("may I?")
    await expect(reader.notice).to_contain_text("Not sent")
    await expect(page.get_by_label("Message", exact=True)).to_have_value("may I?")
    await expect(reader.items).to_have_count(0)


async def test_a_paired_browser_is_let_in_and_out_again_when_its_pairing_ends(
    house: House, server: Serve, new_context: NewContext, watch: Watch
) -> None:
    watch.expected.append("401")
    context = await new_context()
    visitor = await Visitor.arrive(context, house.url)
    await visitor.connect("pia")
    async with Client(house.server.ws_url) as root:
        await root.ask("connect", token=house.key("root"))
        await root.ask("device.pair.approve", code=await visitor.code())
        await visitor.is_in("pia", "operator")
        await visitor.say("hello")
        await visitor.hears("hello", "hello")
        page = visitor.page
        await page.get_by_role("link", name="Sessions").click()
        pia = Reader(page)
        await pia.is_in("pia")
        await expect(pia.items).to_have_text(["user: hello", "assistant: hello"])
        sender_id = await page.evaluate("localStorage.getItem('trunkline.device')")
        await root.ask("device.pair.revoke", senderId=sender_id, channel="browser")
    await expect(page.get_by_role("alert")).to_be_visible()
    await expect(page.locator("#room")).to_be_hidden()


async def test_a_token_that_runs_out_is_replaced_and_nobody_is_sent_to_the_door(
    house: House, server: Serve, new_context: NewContext, watch: Watch
) -> None:
    session = a_session(server, "outlasts")
    context = await new_context()
    await context.route("**/api/auth/token/", short)
    alice = await Reader.arrive(context, house.url, "alice", session)
    async with alice.page.expect_response("**/api/auth/token/refresh/", timeout=60_000):
        await alice.say("slow 20")
    await alice.is_in("alice")
    await expect(alice.button("Interrupt")).to_be_hidden(timeout=60_000)
    await expect(alice.items).to_have_count(2)
    await expect(alice.items.last).to_contain_text("18 19 20")
    await expect(alice.page.locator("#door")).to_be_hidden()


async def short(route: Route) -> None:
    """The access token ends in some seconds, which the page does not know."""
    pair = await (await route.fetch()).json()
    claims = jwt.decode(pair["access"], options={"verify_signature": False})
    now = int(time.time())
    claims |= {"iat": now - 3600, "exp": now + 10}  # and the leeway of 5 s
    pair["access"] = jwt.encode(claims, SECRETS["SECRET_KEY"], algorithm="HS256")
    await route.fulfill(json=pair)


async def test_no_secret_is_where_a_script_or_a_log_could_find_it(
    house: House, server: Serve, session: str, new_context: NewContext
) -> None:
    context = await new_context()
    alice = await Reader.arrive(context, house.url, "alice", session)
    assert await alice.page.evaluate("document.cookie") == ""
    (cookie,) = await context.cookies(f"{house.url}/v1/sessions/ws/{session}/subscribe")
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == (
        "sessionKey",
        True,
        "Strict",
    )
    assert cookie["value"] not in server.log()
    kept = await alice.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert PASSWORD not in kept and "eyJ" not in kept
    async with asyncio.timeout(30):
        async with Viewer(server, session, house.key("alice")) as other:
            await other.initialized()
