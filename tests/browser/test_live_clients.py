"""TopicClient and GroupClient in real Chromium, against a server. Source: PROTOCOLS.md 4, 5."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from playwright.async_api import BrowserContext, Page

from tests.browser.conftest import House, NewContext, Watch, url_of
from tests.services import FaultProxy, Serve

pytestmark = [pytest.mark.browser, pytest.mark.live]

TOLD = ["state", "retry", "dropped", "gap", "error", "message", "presence"]
START = """
async ({ module, kind, names, options, tokens }) => {
  const made = await import(`/static/client/${module}.js`);
  const told = [];
  if (tokens) options.token = () => (tokens.length > 1 ? tokens.shift() : tokens[0]);
  const client = new made[kind]({ maxDelayMs: 500, proofTimeoutMs: 3000, ...options });
  for (const name of names) client.on(name, (detail) => told.push([name, detail]));
  const hear = (channel, filters, name) =>
    client.subscribe(channel, { filters }, (data) => told.push([name, data]));
  Object.assign(globalThis, { client, told, hear });
  client.start();
}
"""


class Tab:
    """A page with nothing on it but one client."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @classmethod
    async def open(cls, context: BrowserContext, url: str, **given: Any) -> Tab:
        page = await context.new_page()
        await page.goto(f"{url}/healthz")
        await page.evaluate(START, {"names": TOLD, "tokens": None, "options": {}, **given})
        return cls(page)

    @classmethod
    async def topics(cls, context: BrowserContext, url: str, *tokens: str) -> Tab:
        given = {"module": "topics", "kind": "TopicClient", "tokens": list(tokens)}
        return await cls.open(context, url, **given)

    @classmethod
    async def group(cls, context: BrowserContext, url: str, client: str, key: str) -> Tab:
        options = {"group": "team ü", "client": client, "apiKey": key}
        given = {"module": "groups", "kind": "GroupClient", "options": options}
        return await cls.open(context, url, **given)

    async def do(self, script: str) -> Any:
        return await self.page.evaluate(script)

    async def until(self, condition: str) -> None:
        await self.page.wait_for_function(f"() => {condition}")

    async def is_ready(self) -> None:
        await self.until("client.state === 'ready'")

    async def told(self, name: str) -> list[Any]:
        everything = await self.page.evaluate("told")
        return [detail for kind, detail in everything if kind == name]

    async def hears(self, name: str, count: int = 1) -> list[Any]:
        """All that was told under this name, once it was so much."""
        await self.until(f"told.filter(([name]) => name === '{name}').length >= {count}")
        return await self.told(name)


def token_of(house: House, **claims: Any) -> str:
    given = {"userId": "usr_1", "role": "agent", **claims}
    return jwt.encode(given, house.server.environ["NEXUS_JWT_SECRET"], algorithm="HS256")


async def test_topics_come_back_with_their_filters_before_what_waited(
    house: House, proxy: FaultProxy, new_context: NewContext, watch: Watch
) -> None:
    watch.expected.append("WebSocket connection to")
    tab = await Tab.topics(await new_context(), url_of(proxy), token_of(house))
    await tab.is_ready()
    assert await tab.do("client.userId") == "usr_1"
    await tab.do("void hear('room', { agent: 'a1' }, 'a1')")
    await tab.do("client.publish('room', { agent: 'a2', n: 1 })")
    await tab.do("client.publish('room', { agent: 'a1', n: 2 })")
    assert await tab.hears("a1") == [{"agent": "a1", "n": 2}]

    proxy.mode = "rst"
    await tab.until("client.state === 'reconnecting'")
    await tab.do("client.publish('room', { agent: 'a2', n: 3 })")
    await tab.do("client.publish('room', { agent: 'a1', n: 4 })")
    assert await tab.do("client.queued") == 2
    proxy.mode = "pass"
    await tab.is_ready()
    await tab.until("client.queued === 0")
    house.server.run("publish", "room", '{"agent":"a1","n":5}')
    assert [data["n"] for data in await tab.hears("a1", 3)] == [2, 4, 5]
    assert (await tab.do("client.ping()")) >= 0
    assert await tab.told("dropped") == []


async def test_a_dead_line_is_found_by_the_proof_that_it_owes(
    house: House, proxy: FaultProxy, new_context: NewContext, watch: Watch
) -> None:
    watch.expected.append("WebSocket connection to")
    tab = await Tab.topics(await new_context(), url_of(proxy), token_of(house))
    await tab.is_ready()
    proxy.mode = "blackhole"
    assert await tab.do("client.ping()") is None
    assert (await tab.hears("retry"))[0]["reason"] == "no sign of life"
    proxy.mode = "rst"
    proxy.mode = "pass"
    await tab.is_ready()


async def test_an_expired_token_is_replaced_once_and_a_refused_one_is_told(
    house: House, new_context: NewContext, watch: Watch
) -> None:
    watch.expected.append("WebSocket connection to")
    context = await new_context()
    soon = token_of(house, exp=int(time.time()) + 15)
    tab = await Tab.topics(context, house.url, soon, token_of(house))
    await tab.is_ready()
    [retry] = await tab.hears("retry")
    assert (retry["code"], retry["reason"]) == (4003, "credentials have expired")
    await tab.is_ready()

    refused = await Tab.topics(await new_context(), house.url, "nonsense")
    first, _ = (await refused.hears("retry", 2))[:2]
    assert first["reason"] == "the handshake was refused, or nobody is there"
    assert await refused.do("client.state") == "reconnecting"


async def test_in_a_group_two_people_talk_and_the_stranger_of_another_account_hears_nothing(
    house: House, new_context: NewContext
) -> None:
    tabs = {}
    for who in ("alice", "bob", "carol"):
        context = await new_context()
        tabs[who] = await Tab.group(context, house.url, f"{who}/1", house.key(who))
        await tabs[who].is_ready()
    alice, bob, carol = tabs.values()

    await alice.do("client.sendGroup('hello', { n: 1 })")
    await alice.do("client.sendDirect('bob/1', 'psst')")
    await alice.do("client.broadcast('all of you')")
    await alice.do("client.cmd('RUN', { job: 7 }, 'bob/1')")
    heard = await bob.hears("message", 4)
    said: dict[str, list[Any]] = {}
    for m in heard:  # in order for each target, which go by different ways
        said.setdefault(m["target"], []).append(m["msg"] or m["cmd"])
    assert said == {"group": ["hello"], "direct": ["psst", "RUN"], "broadcast": ["all of you"]}
    assert {(m["from_id"], m["group_id"]) for m in heard} == {("alice/1", "team ü")}
    await bob.do(
        "client.send({ msg_type: 'presence', target: 'group', payload: { status: 'away' } })"
    )
    assert (await alice.hears("presence"))[0]["payload"] == {"status": "away"}

    await alice.do("client.echo('only me')")
    own = {m["msg"] for m in await alice.hears("message", 3)}
    assert own == {"hello", "all of you", "only me"}
    await alice.do("client.send({ target: 'direct', msg: 'to whom?' })")
    [error] = await alice.hears("error")
    assert [fault["field"] for fault in error["errors"]] == ["to_id"]
    assert await alice.do("client.ping()") >= 0 and await carol.do("client.ping()") >= 0
    assert await carol.told("message") + await carol.told("presence") == []


async def test_what_waited_reaches_the_group_when_it_is_joined_again(
    house: House, proxy: FaultProxy, new_context: NewContext, watch: Watch
) -> None:
    watch.expected.append("WebSocket connection to")
    tab = await Tab.group(await new_context(), url_of(proxy), "alice", house.key("alice"))
    await tab.is_ready()
    proxy.mode = "rst"
    await tab.until("client.state === 'reconnecting'")
    await tab.do("client.sendGroup('from the dark')")
    proxy.mode = "pass"
    assert [m["msg"] for m in await tab.hears("message")] == ["from the dark"]


# --- what was missed (docs/decisions/0010-recovery.md) ---


async def test_what_was_said_on_a_topic_meanwhile_comes_in_order(
    house: House, proxy: FaultProxy, new_context: NewContext, watch: Watch
) -> None:
    watch.expected.append("WebSocket connection to")
    tab = await Tab.topics(await new_context(), url_of(proxy), token_of(house))
    other = await Tab.topics(await new_context(), house.url, token_of(house, userId="usr_2"))
    for one in (tab, other):
        await one.is_ready()
    await tab.do("void hear('room', {}, 'all')")
    await tab.do("void hear('few', { n: 0 }, 'few')")
    await tab.do("client.publish('room', 1)")
    assert await tab.hears("all") == [1]

    proxy.mode = "rst"
    await tab.until("client.state === 'reconnecting'")
    await other.do("for (const n of [2, 3, 4]) client.publish('room', n)")
    await other.do("for (const n of [0, 1, 2]) client.publish('few', { n })")
    assert await other.do("client.ping()") is not None
    proxy.mode = "pass"
    assert await tab.hears("all", 4) == [1, 2, 3, 4]
    assert await tab.hears("few") == [{"n": 0}]
    assert await tab.told("gap") == []


async def test_what_was_said_in_a_group_meanwhile_comes_in_order(
    house: House, proxy: FaultProxy, new_context: NewContext, watch: Watch
) -> None:
    watch.expected.append("WebSocket connection to")
    alice = await Tab.group(await new_context(), url_of(proxy), "alice", house.key("alice"))
    bob = await Tab.group(await new_context(), house.url, "bob", house.key("bob"))
    for one in (alice, bob):
        await one.is_ready()
    await bob.do("client.sendGroup('1')")
    await alice.hears("message")

    proxy.mode = "rst"
    await alice.until("client.state === 'reconnecting'")
    await alice.do("client.sendGroup('4')")
    await bob.do("for (const n of [2, 3]) client.sendGroup(String(n))")
    assert await bob.do("client.ping()") is not None
    proxy.mode = "pass"
    heard = await alice.hears("message", 4)
    assert [message["msg"] for message in heard] == ["1", "2", "3", "4"]
    assert await alice.told("gap") == []


async def test_a_history_that_ended_with_its_process_is_told_as_one_gap_each(
    serve: Callable[..., Serve], new_context: NewContext, watch: Watch
) -> None:
    watch.expected.append("WebSocket connection to")
    house = House(serve(database="sqlite"))  # with Redis it outlives the process
    tab = await Tab.topics(await new_context(), house.url, token_of(house))
    alice = await Tab.group(await new_context(), house.url, "alice", house.key("alice"))
    for one in (tab, alice):
        await one.is_ready()
    await tab.do("void hear('room', {}, 'all')")
    await tab.do("void hear('few', { n: 0 }, 'few')")
    await tab.do("client.publish('room', 1)")
    await alice.do("client.sendGroup('1')")
    assert await tab.hears("all") == [1] and await alice.hears("message")

    house.server.kill()
    for one in (tab, alice):
        await one.until("client.state === 'reconnecting'")
    house.server.start()
    assert {gap["channel"] for gap in await tab.hears("gap", 2)} == {"room", "few"}
    assert len(await alice.hears("gap")) == 1
    await tab.do("client.publish('room', 2)")
    assert await tab.hears("all", 2) == [1, 2]
    assert len(await tab.told("gap")) == 2
