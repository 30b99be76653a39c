"""What a person does all day at the page of sessions. Source: issue 6, Console."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest
from playwright.async_api import WebSocketRoute, expect

from tests.browser.conftest import House, NewContext, Watch
from tests.browser.people import Visitor
from tests.browser.sessions.reader import Reader, answered, ask
from tests.browser.test_every_page import judge, tab_through
from tests.live.made import a_key, a_session
from tests.live.worker import Worker
from tests.services import Serve
from tests.sessions_app.agents.upstream import Line, Upstream, good, refusing

pytestmark = [pytest.mark.browser, pytest.mark.live, pytest.mark.timeout(150)]

LONG = """
from accounts.models import Account
from sessions_app.models import Session
session = Session.objects.create(
    account=Account.objects.get(slug="default"), key="long", owner="alice", agent="worker")
for number in range(1000):
    session.append(kind="user", content=f"word {number}", author="alice")
"""
SAID = "See:\n\n```py\nprint(1)\n```\n"
# How often the height of what can be scrolled is asked for, which lays out all that has changed.
COUNT = """
() => {
  const { get } = Object.getOwnPropertyDescriptor(Element.prototype, "scrollHeight");
  window.measured = 0;
  const count = function () { window.measured += 1; return get.call(this); };
  Object.defineProperty(Element.prototype, "scrollHeight", { get: count });
}
"""
SELECTED = "getSelection().toString()"
# What buttons say is said for two seconds: it is noted, for whoever is slow to look.
NOTE_WORDS = """
() => {
  globalThis.words = [];
  const label = "aria-label";
  const note = (seen) => seen.forEach(({ target }) => words.push(target.getAttribute(label)));
  const options = { subtree: true, attributeFilter: [label] };
  new MutationObserver(note).observe(document.body, options);
}
"""
WORDS = "([word, times]) => words.filter((one) => one?.startsWith(word)).length >= times"


@pytest.fixture(autouse=True)
def hasty(watch: Watch) -> None:
    """Who goes to another session at once leaves a socket that is still dialling."""
    watch.expected.append("WebSocket is closed before the connection is established")


async def test_a_session_whose_worker_is_away_says_that_it_waits_for_one(
    server: Serve, house: House, session: str, new_context: NewContext
) -> None:
    alice = await Reader.arrive(await new_context(), house.url, "alice", session)
    await expect(alice.hint).to_contain_text("No worker is here")
    assert await judge(alice.page, "no worker") == []
    await alice.say("anybody?")
    async with Worker(server, session, a_key(server)) as worker:
        await worker.asked("anybody?")
        await worker.stream("I am")
        await expect(alice.hint).to_be_hidden(timeout=9000)  # by its word, not by the next look
        await expect(alice.page.locator("#here")).to_contain_text("Worker: alice", timeout=9000)
    await expect(alice.hint).to_be_visible(timeout=40_000)
    echo = a_session(server, "answered-here")
    await alice.page.evaluate("(id) => { location.hash = id; }", echo)
    await expect(alice.page.locator("#here")).to_contain_text("alice")
    await expect(alice.hint).to_be_hidden()


async def test_a_session_is_renamed_put_away_and_taken_out_again(
    server: Serve, house: House, new_context: NewContext
) -> None:
    one, other = a_session(server, "put-away"), a_session(server, "stays")
    alice = await Reader.arrive(await new_context(390, 844), house.url, "alice", one)
    page = alice.page
    await alice.choose("Rename")
    await page.get_by_label("Name", exact=True).fill("The first")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="The first")).to_be_visible()
    await page.locator("#sessions-title").click()
    row = page.locator("#sessions button", has_text="The first")
    await expect(row).to_be_visible()

    await alice.choose("Archive")
    await expect(alice.hint).to_contain_text("archived")
    await page.locator(f'#sessions button[value="{other}"]').click()
    await expect(row).to_be_hidden()
    await page.get_by_role("button", name="Archived (1)").click()
    await row.click()
    await alice.choose("Take out of the archive")
    await expect(alice.hint).to_be_hidden()
    await expect(page.locator("#archived")).to_be_hidden()
    await page.go_back()
    await expect(page.locator(f'#sessions button[value="{other}"]')).to_have_attribute(
        "aria-current", "true"
    )


async def test_a_chat_of_the_console_leads_to_its_session_and_back(
    house: House, new_context: NewContext
) -> None:
    visitor = await Visitor.enter(await new_context(), house, "alice")
    await visitor.say("said in the console")
    await visitor.hears("said in the console", "said in the console")
    key = await visitor.session_key()
    await visitor.page.locator("#chat-menu summary").click()
    await visitor.page.get_by_role("link", name="Show in Sessions").click()

    alice = Reader(visitor.page)
    await alice.page.get_by_label("Password").fill("a-long-and-quiet-afternoon")
    await alice.button("Connect").click()
    await expect(alice.items).to_have_count(2)
    await expect(alice.page).to_have_url(re.compile("/sessions/#session_"))
    row = alice.page.locator("#sessions [aria-current]")
    await expect(row).to_contain_text("said in the console")
    await alice.button("New session").click()
    await expect(alice.items).to_have_count(0)
    await row.page.locator("#sessions button", has_text="said in the console").click()
    await expect(alice.items).to_have_count(2)
    await alice.page.locator("#chat-menu summary").click()
    await alice.page.get_by_role("link", name="Show in the console").click()
    await visitor.connect("alice", house.key("alice"))
    await visitor.hears("said in the console", "said in the console")
    assert await visitor.session_key() == key


async def test_code_and_messages_are_copied_as_they_were_written(
    house: House, worker: Worker, session: str, new_context: NewContext
) -> None:
    context = await new_context()
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    alice = await Reader.arrive(context, house.url, "alice", session)
    await alice.say("*why?*")
    await worker.asked("*why?*")
    await worker.answer(SAID, "a-copy")
    await expect(alice.items).to_have_count(2)
    await alice.page.evaluate(NOTE_WORDS)
    copies = [
        (alice.items.first.get_by_role("button", name="Copy the message"), "*why?*"),
        (alice.items.last.get_by_role("button", name="Copy the message"), SAID),
        (alice.items.last.get_by_role("button", name="Copy the code"), "print(1)"),
    ]
    for times, (shown, wanted) in enumerate(copies, 1):
        await shown.click()
        await alice.page.wait_for_function(WORDS, arg=["Copied", times])
        assert await alice.page.evaluate("navigator.clipboard.readText()") == wanted
        await expect(alice.page.get_by_role("button", name="Copied")).to_have_count(0)
    # Without https there is no clipboard for scripts: then it is selected.
    await alice.page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    await alice.items.last.get_by_role("button", name="Copy the code").click()
    await alice.page.wait_for_function(WORDS, arg=["Selected", 1])
    assert await alice.page.evaluate(SELECTED) == "print(1)"
    assert await judge(alice.page, "copied") == []


async def test_a_question_hides_nothing_and_fits_a_telephone(
    house: House, worker: Worker, session: str, new_context: NewContext
) -> None:
    alice = await Reader.arrive(await new_context(390, 844), house.url, "alice", session)
    await ask(worker, "q-bidi", command="rm \u202etxt.harmless\u202c\u200b " + "x" * 200)
    await expect(alice.question).to_contain_text(r"rm \u{202e}txt.harmless\u{202c}\u{200b} xxx")
    await expect(alice.button("Deny")).to_be_in_viewport(ratio=1)
    box = await alice.button("Deny").bounding_box()
    area = await alice.page.locator("#questions").bounding_box()
    assert box and area
    assert box["x"] + box["width"] <= area["x"] + area["width"]
    await alice.page.locator("#chat-menu summary").click()
    menu = await alice.page.locator("#chat-menu > div").bounding_box()
    assert menu and menu["x"] >= 0


async def test_an_answer_that_comes_second_is_told_that_it_came_too_late(
    house: House, worker: Worker, session: str, new_context: NewContext
) -> None:
    held: asyncio.Queue[Callable[[], None]] = asyncio.Queue()

    def hold_answers(line: WebSocketRoute) -> None:
        server = line.connect_to_server()

        def pass_on(said: str | bytes) -> None:
            if "control_response" in str(said):
                held.put_nowait(lambda: server.send(said))
            else:
                server.send(said)

        line.on_message(pass_on)

    context = await new_context()
    await context.route_web_socket(re.compile("/subscribe"), hold_answers)
    alice = await Reader.arrive(context, house.url, "alice", session)
    root = await Reader.arrive(await new_context(), house.url, "root", session)
    await ask(worker, "q-late", command="ls")
    for reader in (alice, root):
        await expect(reader.question).to_be_visible()
    await alice.button("Allow").click()
    allow = await asyncio.wait_for(held.get(), 30)
    await root.button("Deny").click()
    assert (await answered(worker, "q-late"))["behavior"] == "deny"
    allow()
    await expect(alice.notice).to_contain_text("came too late")
    await expect(root.question).to_have_count(0)
    await expect(root.notice).to_have_text("")


async def test_only_an_answer_whose_beginning_was_not_seen_says_that_part_may_be_missing(
    house: House, worker: Worker, session: str, new_context: NewContext
) -> None:
    alice = await Reader.arrive(await new_context(), house.url, "alice", session)
    await alice.say("tell me")
    await worker.asked("tell me")
    await worker.stream("once upon ")
    await expect(alice.items.last).to_contain_text("once upon")
    late = await Reader.arrive(await new_context(), house.url, "root", session)
    await worker.stream("a time")
    await expect(late.items.last).to_contain_text("a time")
    await expect(late.items.last).to_contain_text("may be missing")
    await expect(alice.items.last).to_contain_text("once upon a time")
    await expect(alice.items.last).not_to_contain_text("may be missing")
    await worker.answer("once upon a time", "a-whole")
    await worker.stream("and")
    for reader in (alice, late):
        await expect(reader.items.last).to_contain_text("and")
        await expect(reader.page.locator("#messages")).not_to_contain_text("may be missing")


async def test_another_attempt_at_the_model_is_seen_on_both_pages(
    serve: Callable[..., Serve], new_context: NewContext
) -> None:
    seen = asyncio.Event()

    async def good_when_seen(line: Line) -> None:
        await seen.wait()
        await good(line)

    async with Upstream(refusing(429, Retry_After="0"), good_when_seen) as upstream:
        settings = {"OPENAI_BASE_URL": upstream.url, "OPENAI_API_KEY": "sk-x"}
        model = {"DEFAULT_AGENT": "openai", "OPENAI_MODEL": "small"}
        # In a thread: the endpoint answers on this loop.
        server = await asyncio.to_thread(serve, database="sqlite", **settings, **model)
        house = House(server)
        a_session(server, "tried", "alice", "--agent", "openai")
        visitor = await Visitor.enter(await new_context(), house, "alice")
        await visitor.sessions.first.click()
        alice = await Reader.with_key(await new_context(), house, "alice", "tried")
        await visitor.say("hi")
        await expect(visitor.messages.last).to_contain_text("Trying again (2 of 3)")
        await expect(alice.notice).to_have_text("Trying again (2 of 3)")
        seen.set()
        await visitor.hears("hi", "Hello world")
        await expect(visitor.messages.last).not_to_contain_text("Trying again")
        await expect(alice.items.last).to_contain_text("Hello world")
        await expect(alice.notice).to_have_text("")


async def test_a_long_session_comes_without_being_measured_for_each_of_its_events(
    server: Serve, house: House, new_context: NewContext
) -> None:
    server.run("shell", "--no-imports", "-c", LONG)
    alice = await Reader.arrive(await new_context(), house.url, "alice", a_session(server, "short"))
    await alice.page.evaluate(COUNT)
    await alice.page.evaluate("location.hash = 'long'")
    await expect(alice.items).to_have_count(1001, timeout=40_000)
    assert await alice.page.evaluate("measured") < 500
    await expect(alice.items.last).to_have_text("user: word 999")
    await expect(alice.items.last).to_be_in_viewport()  # it is at its end
    # Who has scrolled back stays there, whatever comes.
    await alice.page.locator("#messages").evaluate("(list) => { list.scrollTop = 500; }")
    await alice.say("one more")
    await expect(alice.items).to_have_count(1002)
    assert await alice.page.locator("#messages").evaluate("(list) => list.scrollTop") == 500


@pytest.mark.parametrize("width", [390, 1440])
async def test_the_keyboard_reaches_all_of_a_session(
    width: int, house: House, worker: Worker, session: str, new_context: NewContext
) -> None:
    alice = await Reader.arrive(await new_context(width, 844), house.url, "alice", session)
    await worker.answer(SAID, f"a-keys-{width}")
    await ask(worker, f"q-keys-{width}", command="ls")
    await expect(alice.question).to_be_visible()
    order = [re.sub(r"\s+", " ", one) for one in await tab_through(alice.page)]
    wanted = ["SUMMARY Sessions", "SUMMARY Actions for this session", "DIV Messages"]
    wanted += ["BUTTON Copy the message", "BUTTON Copy the code", "PRE Code, py"]
    wanted += ["BUTTON Allow", "BUTTON Deny", "INPUT Why not", "TEXTAREA message", "BUTTON Send"]
    wanted += ["BUTTON Interrupt"]
    assert [one for one in order if one in wanted] == wanted, order
    assert await judge(alice.page, "by keyboard") == []


async def test_a_stranger_is_told_of_no_session_by_its_name_in_the_console(
    server: Serve, house: House, new_context: NewContext, watch: Watch
) -> None:
    watch.expected.append("404")
    a_session(server, "the-name-of-alice")
    bob = await Reader.arrive(await new_context(), house.url, "bob")
    await bob.page.evaluate("location.hash = 'the-name-of-alice'")
    await expect(bob.page.locator("#chat-title")).to_have_text("No such session")
    await expect(bob.page.locator("#chat-menu")).to_be_hidden()
