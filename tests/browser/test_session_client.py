"""SessionsWebSocket in real Chromium, against a server. Source: PROTOCOLS.md 3.2, 3.7, 3.8."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page

from tests.browser.conftest import House, NewContext, Watch, url_of
from tests.live.made import a_session
from tests.services.faults import FaultProxy

pytestmark = [pytest.mark.browser, pytest.mark.live]

START = """
async ({ session, tokens, options }) => {
  const { SessionsWebSocket } = await import("/static/client/sessions.js");
  const told = [];
  const getToken = async () => (tokens.length > 1 ? tokens.shift() : tokens[0]);
  const callbacks = {
    onConnected: () => told.push(["connected", null]),
    onMessage: (frame) => told.push(["message", frame]),
    onClose: (why) => told.push(["closed", why]),
    onError: ({ message }) => told.push(["error", message]),
  };
  const all = { minDelayMs: 50, maxDelayMs: 300, maxRetries: Infinity, ...options };
  const client = new SessionsWebSocket(session, "default", getToken, callbacks, all);
  client.on("resumed", (detail) => told.push(["resumed", detail]));
  Object.assign(globalThis, { client, told });
  client.connect();
}
"""

STORED = """
  told
    .filter(([, it]) => ["user", "assistant", "result"].includes(it?.type))
    .map(([, it]) => it.uuid)
"""


class Tab:
    """A page with nothing on it but one client."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @classmethod
    async def open(
        cls, context: BrowserContext, url: str, session: str, *tokens: str, **options: Any
    ) -> Tab:
        page = await context.new_page()
        await page.goto(f"{url}/healthz")
        given = {"session": session, "tokens": list(tokens), "options": options}
        await page.evaluate(START, given)
        return cls(page)

    async def do(self, script: str) -> Any:
        return await self.page.evaluate(script)

    async def told(self, name: str) -> list[Any]:
        return [detail for kind, detail in await self.page.evaluate("told") if kind == name]

    async def hears(self, name: str, count: int = 1) -> list[Any]:
        """All that was told under this name, once it was so much."""
        script = f"() => told.filter(([name]) => name === '{name}').length >= {count}"
        await self.page.wait_for_function(script)
        return await self.told(name)

    async def hears_result(self, text: str) -> None:
        await self.page.wait_for_function(
            "(text) => told.some(([, it]) => it?.type === 'result' && it.result === text)", arg=text
        )


async def test_in_a_page_it_comes_back_with_what_was_missed_and_says_what_waited(
    house: House, proxy: FaultProxy, new_context: NewContext, watch: Watch
) -> None:
    watch.expected.append("WebSocket connection to")
    session, context = a_session(house.server), await new_context()
    tab = await Tab.open(context, url_of(proxy), session, house.key("alice"))
    other = await Tab.open(await new_context(), house.url, session, house.key("alice"))
    for one in (tab, other):
        await one.hears("connected")
    path = f"/v1/sessions/ws/{session}/subscribe"
    (cookie,) = await context.cookies(url_of(proxy) + path)
    assert cookie["name"] == "sessionKey"
    assert cookie["path"] == path
    assert cookie["sameSite"] == "Strict"
    assert await tab.do("document.cookie") == ""
    await tab.do("client.sendMessage('one')")
    await tab.hears_result("one")

    proxy.mode = "rst"
    await tab.hears("error")
    await other.do("client.sendMessage('two')")
    await other.hears_result("two")
    await tab.do("void (globalThis.saying = client.sendMessage('three'))")
    assert await tab.do("[client.isConnected(), client.queued]") == [False, 1]
    proxy.mode = "pass"
    await tab.do("saying")
    await tab.hears_result("three")
    await other.hears_result("three")
    ((first), *_) = await tab.told("resumed")
    assert first == {"recovered": True, "missed": 3}
    assert await tab.do(STORED) == await other.do(STORED)


async def test_in_a_page_a_dead_line_is_found_by_the_keep_alive_without_an_answer(
    house: House, proxy: FaultProxy, new_context: NewContext, watch: Watch
) -> None:
    watch.expected.append("WebSocket connection to")
    tab = await Tab.open(
        await new_context(), url_of(proxy), a_session(house.server), house.key("alice"), pingMs=500
    )
    await tab.hears("connected")
    proxy.mode = "blackhole"
    assert (await tab.hears("error"))[0] == "no sign of life"
    proxy.mode = "pass"
    await tab.hears("connected", 2)
    assert await tab.do("client.sendControlRequest({ subtype: 'interrupt' })") == {}


async def test_in_a_page_a_refused_token_ends_it_and_a_fresh_one_is_asked_for(
    house: House, new_context: NewContext
) -> None:
    session = a_session(house.server)
    tab = await Tab.open(await new_context(), house.url, session, "nonsense", house.key("alice"))
    (closed,) = await tab.hears("closed")
    assert closed["code"] == 4003
    await tab.do("client.reconnect()")
    await tab.hears("connected")
    await tab.do("client.close()")
    assert await tab.hears("closed", 2) == [closed, {"code": 0, "reason": "stopped by the page"}]
