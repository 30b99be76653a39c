"""clients/js in real Chromium, through outages. Source: issue 3; PROTOCOLS.md 2.12."""

from __future__ import annotations

import re
import shutil
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, async_playwright

from tests.browser.conftest import FLAGS, INJECT, House, NewContext, Watch
from tests.services.faults import FaultProxy
from tests.services.process import Service

pytestmark = [pytest.mark.browser, pytest.mark.live]

README = Path(__file__).resolve().parents[2] / "clients" / "js" / "README.md"
SESSION = "agent:default:ws:direct:of-the-client-test"
ABSENCE_MS = 30_000
# Delays stay short, so that a test need not wait for a lucky draw; a doubt is settled soon.
OPTIONS = {"userId": "alice", "maxDelayMs": 1500, "proofTimeoutMs": 3000}

START = """
async ({ token, options, session }) => {
  const { GatewayClient } = await import("/static/client/gateway.js");
  const told = [];
  const client = new GatewayClient({ ...options, token: () => token });
  for (const name of ["state", "history", "resumed", "dropped"]) {
    client.on(name, (detail) => told.push({ name, detail, at: Date.now() }));
  }
  client.watch(session);
  Object.assign(globalThis, { client, told });
  const ready = new Promise((resolve) => client.on("ready", resolve));
  client.start();
  await ready;
}
"""
ASK = "({ method, params }) => client.request(method, params)"
# Answered when it is sent, not when it is answered: `globalThis.answers` has that, by id.
SEND_LATER = """
(params) => {
  globalThis.answers ??= {};
  const settle = (value) => (answers[params.messageId] = value);
  client.request("chat.send", params, { queue: true }).then(settle, ({ code }) => settle({ code }));
}
"""
RESUMED = "(n) => told.filter(({ name }) => name === 'resumed').length >= n"
EXAMPLE = """
async (token) => {
  const told = [];
  let shown = "";
  const askForToken = () => token;
  const tell = (text) => told.push(text);
  const show = (text) => (shown += text);
  const showAll = () => {};
  %s
  return { content, told, shown };
}
"""


@dataclass
class Tab:
    """A page with nothing on it but the client, connected as alice."""

    page: Page

    @classmethod
    async def open(cls, context: BrowserContext, url: str, token: str) -> Tab:
        page = await context.new_page()
        await page.goto(f"{url}/healthz")
        await page.evaluate(START, {"token": token, "options": OPTIONS, "session": SESSION})
        return cls(page)

    async def ask(self, method: str, **params: object) -> Any:
        params = {"sessionKey": SESSION, **params}
        return await self.page.evaluate(ASK, {"method": method, "params": params})

    async def contents(self) -> list[str]:
        """What the server has stored; the client has then seen it."""
        history = await self.ask("chat.history")
        return [message["content"] for message in history["messages"]]

    async def send_later(self, message: str, message_id: str) -> None:
        params = {"sessionKey": SESSION, "message": message, "messageId": message_id}
        await self.page.evaluate(SEND_LATER, params)

    async def answer(self, message_id: str) -> Any:
        await self.page.wait_for_function("(id) => answers[id]", arg=message_id)
        return await self.page.evaluate("(id) => answers[id]", message_id)

    async def told(self, name: str) -> list[dict[str, Any]]:
        everything = await self.page.evaluate("told")
        return [entry["detail"] for entry in everything if entry["name"] == name]

    async def resumed(self, times: int) -> list[dict[str, Any]]:
        """All that was said of resuming, once it was said so many times."""
        await self.page.wait_for_function(RESUMED, arg=times)
        return await self.told("resumed")

    async def lost_at(self) -> int:
        """When the connection went, in ms since the epoch."""
        found: int = await self.page.evaluate(
            "told.find(({ detail }) => detail.state === 'reconnecting').at"
        )
        return found


class Chromium(Service):
    """A browser as people start it; playwright's own keeps every tab visible, so none freezes."""

    def command(self) -> Sequence[str]:
        chromium = shutil.which("chromium")
        assert chromium, "chromium is missing: install Debian's package chromium"
        profile = self.folder / "profile"
        port = f"--remote-debugging-port={self.port}"
        return [chromium, "--headless", *FLAGS, port, f"--user-data-dir={profile}"]

    def ready(self) -> bool:
        with socket.socket() as line:
            return line.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
async def tabs(watch: Watch) -> AsyncIterator[BrowserContext]:
    """One window, whose tabs are shown, hidden and frozen like those of people."""
    chromium = Chromium().start()
    try:
        async with async_playwright() as playwright:
            address = f"http://127.0.0.1:{chromium.port}"
            browser = await playwright.chromium.connect_over_cdp(address, no_defaults=True)
            context = browser.contexts[0]
            context.on("page", watch.page)
            yield context
            await browser.close()
    finally:
        chromium.close()


def alice_hears(house: House, message: str) -> None:
    script = INJECT.format(key=SESSION, message=message)
    house.server.run("shell", "--no-imports", "-c", script)


@pytest.mark.timeout(150)  # half a minute of it is the absence itself
async def test_two_tabs_one_of_them_frozen_come_back_after_half_a_minute_without_a_server(
    house: House, tabs: BrowserContext, watch: Watch
) -> None:
    watch.expected.append("WebSocket connection to")  # what Chromium says while nobody listens
    two = await Tab.open(tabs, house.url, house.key("alice"))
    one = await Tab.open(tabs, house.url, house.key("alice"))
    await one.ask("chat.send", message="before", messageId="m-0")
    assert await one.contents() == await two.contents() == ["before", "before"]

    freezer = await tabs.new_cdp_session(two.page)
    await freezer.send("Page.setWebLifecycleState", {"state": "frozen"})
    house.server.kill()
    await one.page.wait_for_function("() => client.state === 'reconnecting'")
    await one.send_later("from the dark", "m-1")
    assert await one.page.evaluate("client.queued") == 1
    gone = f"() => Date.now() - {await one.lost_at()} >= {ABSENCE_MS}"
    alice_hears(house, "news")
    await one.page.wait_for_function(gone, timeout=ABSENCE_MS + 15_000)
    house.server.start()

    assert await one.resumed(1) == [{"recovered": True, "missed": 1, "reason": "reconnected"}]
    assert (await one.answer("m-1"))["content"] == "from the dark"
    assert await one.page.evaluate("client.queued") == 0

    thawed_at = await one.page.evaluate("Date.now()")
    await freezer.send("Page.setWebLifecycleState", {"state": "active"})
    await two.page.bring_to_front()
    assert await two.resumed(1) == [{"recovered": True, "missed": 3, "reason": "reconnected"}]
    assert await two.lost_at() >= thawed_at  # it was frozen indeed
    everything = ["before", "before", "news", "from the dark", "from the dark"]
    assert [told["missed"] for told in await two.told("history")] == [3]
    assert await one.contents() == await two.contents() == everything
    assert await one.told("dropped") == []

    stores = "JSON.stringify([localStorage, sessionStorage, location.href, document.cookie])"
    assert house.key("alice") not in await one.page.evaluate(stores)


async def test_offline_and_online_again_a_message_sent_meanwhile_arrives_once(
    house: House, proxy: FaultProxy, new_context: NewContext, watch: Watch
) -> None:
    watch.expected.append("WebSocket connection to")
    context = await new_context()
    tab = await Tab.open(context, f"http://127.0.0.1:{proxy.port}", house.key("alice"))
    await tab.ask("chat.send", message="before", messageId="m-0")
    assert await tab.contents() == ["before", "before"]

    proxy.mode = "blackhole"
    await context.set_offline(True)
    await tab.page.wait_for_function("() => !navigator.onLine")
    await tab.send_later("into the void", "m-1")
    alice_hears(house, "news")
    await context.set_offline(False)
    # The line is dead, and nobody says so: the client finds out.
    await tab.page.wait_for_function("() => client.state === 'reconnecting'")
    proxy.mode = "rst"
    proxy.mode = "pass"

    assert await tab.resumed(1) == [{"recovered": True, "missed": 1, "reason": "reconnected"}]
    assert (await tab.answer("m-1"))["content"] == "into the void"
    assert Counter(await tab.contents())["into the void"] == 2  # hers, and its echo

    # Whoever comes back to a session that was begun anew is told that something is gone.
    proxy.mode = "rst"
    await tab.page.wait_for_function("() => client.state === 'reconnecting'")
    reset = f"""
from realtime.core.principal import Principal
from sessions_app.services import sessions
sessions.reset(principal=Principal(id="alice"), key={SESSION!r})
"""
    house.server.run("shell", "--no-imports", "-c", reset)
    proxy.mode = "pass"
    latest = (await tab.resumed(2))[-1]
    assert latest == {"recovered": False, "missed": 0, "reason": "reconnected"}


async def test_the_example_of_the_readme_runs(house: House, new_context: NewContext) -> None:
    example = re.search(r"```js\n(.*?)```", README.read_text(), re.S)
    assert example is not None
    code = re.sub(
        r'import (\{.*?\}) from "\./(\w+\.js)";',
        r'const \1 = await import("/static/client/\2");',
        example[1],
    )
    page = await (await new_context()).new_page()
    await page.goto(f"{house.url}/healthz")
    seen = await page.evaluate(EXAMPLE % code, house.key("alice"))
    assert seen == {"content": "hello", "shown": "hello", "told": ["connecting", "ready"]}
