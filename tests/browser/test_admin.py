"""The live admin pages in real Chromium: they change by themselves and disturb nobody."""

from __future__ import annotations

import itertools
from contextlib import AsyncExitStack

import pytest
from playwright.async_api import Locator, Page, WebSocket, WebSocketRoute, expect

from tests.browser.conftest import House, NewContext, Watch
from tests.browser.people import Administrator
from tests.live.client import Client
from tests.services.people import key_of

pytestmark = [pytest.mark.browser, pytest.mark.live]

PAIRINGS, CONNECTIONS = "/admin/accounts/pairing/", "/admin/sessions_app/presence/"
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""

LONGER_THAN_A_READING_WAITS = "new Promise((go) => setTimeout(go, 700))"
NOTE_READINGS = """{
  globalThis.readings = [];
  const ask = fetch;
  globalThis.fetch = (...asked) => {
    if (asked[0] === location.href) readings.push(performance.now());
    return ask(...asked);
  };
}"""


class List:
    """A live changelist."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.sockets: list[WebSocket] = []
        page.on("websocket", lambda socket: self.sockets.append(socket))

    async def readings(self) -> list[float]:
        """The moments, in milliseconds, at which the script read the page again."""
        return await self.page.evaluate("readings")

    async def open(self) -> None:
        await self.page.add_init_script(NOTE_READINGS)
        await self.page.goto(self.url)
        await expect(self.mark).to_have_text("Live")

    @property
    def mark(self) -> Locator:
        return self.page.locator("#live")

    def row(self, text: str) -> Locator:
        return self.page.locator("#result_list tbody tr").filter(has_text=text)


async def boss_at(house: House, new_context: NewContext, path: str, **options: object) -> List:
    context = await new_context(**options)
    boss = await Administrator.log_in(context, house.url, *house.admin)
    return List(boss.page, house.url + path)


async def asks(client: Client, user: str) -> str:
    return (await client.ask("connect", user_id=user))["pairing_code"]


async def test_pairings_come_and_go_without_a_reload_and_without_disturbing(
    house: House, new_context: NewContext, watch: Watch
) -> None:
    shown = await boss_at(house, new_context, PAIRINGS)
    await shown.open()
    page, ws = shown.page, house.server.ws_url
    await page.evaluate("window.same = true")
    async with AsyncExitStack() as stack:  # each is to say something soon after it has come
        first = await stack.enter_async_context(Client(ws))
        one = await asks(first, "dora")
        await expect(shown.row(one)).to_be_visible()
        left = shown.row(one).locator("time.left")
        before = await left.inner_text()
        await shown.row(one).get_by_role("checkbox").check()
        await shown.row(one).get_by_role("button", name="Approve").focus()

        two = await asks(await stack.enter_async_context(Client(ws)), "emil")
        await expect(shown.row(two)).to_be_visible()
        await expect(shown.row(one).get_by_role("checkbox")).to_be_checked()
        await expect(shown.row(one).get_by_role("button", name="Approve")).to_be_focused()
        await expect(page.locator(".action-counter")).to_have_text("1 of 2 selected")
        await expect(page.locator(".paginator")).to_contain_text("2 pairings")
        await expect(left).not_to_have_text(before)

        house.server.run("deny_pairing", two)
        await expect(shown.row(two)).to_contain_text("denied")
        await expect(shown.row(two).get_by_role("button")).to_have_count(0)

        await page.evaluate(HIDE, True)
        seen: list[float] = []
        while (now := await shown.readings()) != seen:  # one may be on its way
            seen = now
            await page.evaluate(LONGER_THAN_A_READING_WAITS)
        third = await stack.enter_async_context(Client(ws))
        async with shown.sockets[-1].expect_event("framereceived"):
            three = await asks(third, "frida")
        await page.evaluate(LONGER_THAN_A_READING_WAITS)
        assert await shown.readings() == seen, "nobody looks: nothing is read"
        await expect(shown.row(three)).to_have_count(0)
        await page.evaluate(HIDE, False)
        await expect(shown.row(three)).to_be_visible()

        assert await page.evaluate("window.same"), "never reloaded"
        gaps = [later - one for one, later in itertools.pairwise(await shown.readings())]
        # Half a second between two, less what passes before the first is noted.
        assert len(gaps) >= 3 and min(gaps) >= 400, "two readings a second at most"

        await shown.row(one).get_by_role("button", name="Approve").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator(".messagelist")).to_contain_text(
            "Approved browser device of dora"
        )
        answer = await first.ask("browser.pairing.status", sender_id=sender(first))
        assert answer["status"] == "approved"

    tab = await page.context.new_page()
    await tab.goto(f"{house.url}/admin/")
    await tab.get_by_role("button", name="Log out").click()
    await expect(shown.mark).to_contain_text("You are logged out")
    await shown.mark.get_by_role("link", name="Log in again").click()
    await expect(page.get_by_label("Username")).to_be_visible()


def sender(client: Client) -> str:
    return next(frame["payload"]["sender_id"] for frame in client.frames if frame.get("ok"))


async def test_connections_are_live_a_word_reaches_one_and_a_restart_is_outlived(
    house: House, new_context: NewContext, watch: Watch
) -> None:
    watch.expected += ["net::ERR_", "WebSocket connection to"]
    shown = await boss_at(house, new_context, CONNECTIONS)
    ws = house.server.ws_url
    async with AsyncExitStack() as stack:
        alice = await stack.enter_async_context(Client(ws))
        await alice.ask("connect", token=key_of("alice"))
        await shown.open()
        row = shown.row("alice")
        await row.locator("summary").click()
        words = row.get_by_label("Message to alice")
        await words.fill("back in five")
        bob = await stack.enter_async_context(Client(ws))
        await bob.ask("connect", token=key_of("bob"))
        await expect(shown.row("bob")).to_be_visible()
        await expect(words).to_be_focused()
        await expect(words).to_have_value("back in five")
        await words.press("Enter")
        await expect(shown.page.locator(".messagelist")).to_contain_text("back in five")
        assert await alice.event("notice") == {"text": "back in five", "by": "boss"}

        await expect(shown.mark).to_have_text("Live")
        await shown.row("bob").get_by_role("button", name="Disconnect").click()
        assert (await bob.closed())[0] == 4003
        await expect(shown.row("bob")).to_have_count(0)
        await expect(shown.row("alice")).to_be_visible()

    house.server.kill()
    await expect(shown.mark).to_have_text("Not live, retrying")
    house.server.start()
    await expect(shown.mark).to_have_text("Live", timeout=60_000)
    await expect(shown.row("alice")).to_have_count(0)


async def test_a_line_that_has_held_is_dialled_again_soon_however_often_it_breaks(
    house: House, new_context: NewContext
) -> None:
    shown = await boss_at(house, new_context, CONNECTIONS)
    page = shown.page
    lines: list[WebSocketRoute] = []
    await page.route_web_socket("**/admin/ws", lambda line: lines.append(line))
    await page.add_init_script("Math.random = () => 0.99")  # of full jitter, the longest delay
    await page.clock.install(time=0)
    await shown.open()
    await page.clock.pause_at(3600)  # from here on time passes only as told
    for _ in range(3):
        await page.clock.run_for(5000)
        await lines[-1].close(code=1011)
        await expect(shown.mark).to_have_text("Not live, retrying")
        await page.clock.run_for(1000)
        await expect(shown.mark).to_have_text("Live")
    assert len(lines) == 4


async def test_without_scripts_and_on_a_telephone_the_buttons_do_the_same(
    house: House, new_context: NewContext
) -> None:
    options = {"width": 390, "height": 844, "java_script_enabled": False}
    shown = await boss_at(house, new_context, PAIRINGS, **options)
    ws = house.server.ws_url
    async with AsyncExitStack() as stack:
        code = await asks(await stack.enter_async_context(Client(ws)), "dora")
        await shown.page.goto(shown.url)
        button = shown.row(code).get_by_role("button", name="Approve")
        size = await button.bounding_box()
        assert size and size["height"] >= 44 and size["x"] + size["width"] <= 390
        await button.click()
        await expect(shown.page.locator(".messagelist")).to_contain_text("Approved")

        alice = await stack.enter_async_context(Client(ws))
        await alice.ask("connect", token=key_of("alice"))
        await shown.page.goto(house.url + CONNECTIONS)
        row = shown.row("alice")
        await row.locator("summary").click()
        await row.get_by_label("Message to alice").fill("hello")
        await row.get_by_role("button", name="Send").click()
        assert (await alice.event("notice"))["text"] == "hello"
