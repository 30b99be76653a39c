"""The Python clients on a real server, cut off again and again: whole, in order, or a gap.

Source: docs/decisions/0010-recovery.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import jwt
import pytest

from tests.services import FaultProxy, Serve
from tests.services.people import key_of
from trunkline_client import (
    Connected,
    Gap,
    GroupClient,
    GroupMessage,
    Lost,
    Message,
    Timing,
    TopicClient,
)

pytestmark = [pytest.mark.live, pytest.mark.own_server]

WITHIN_S = 30.0
QUICK = Timing(first_delay_s=0.02, longest_delay_s=0.2)
CUTS, OF_EACH = 5, 40


@pytest.fixture
def server(serve: Any) -> Serve:
    started: Serve = serve(DRAIN_S="1")
    return started


@pytest.fixture
def line(server: Serve) -> Iterator[FaultProxy]:
    """To be cut."""
    with FaultProxy("127.0.0.1", server.port) as line:
        yield line


@pytest.fixture
async def entering() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def topics(server: Serve, port: int) -> TopicClient:
    claims = {"userId": "usr_1", "role": "agent"}
    token = jwt.encode(claims, server.environ["NEXUS_JWT_SECRET"], algorithm="HS256")
    url, options = f"ws://127.0.0.1:{port}", {"proxy": None}
    return TopicClient(url, token, timing=QUICK, options=options)


def member(client: str, port: int) -> GroupClient:
    given = {"api_key": key_of("alice"), "timing": QUICK, "options": {"proxy": None}}
    return GroupClient(f"ws://127.0.0.1:{port}", "g", client, **given)


def told(event: Any) -> Any:
    """What was said, or why something may be missing; None for the rest."""
    match event:
        case Message():
            return event.data["n"]
        case GroupMessage():
            return event.payload["n"]
        case Gap():
            return event.reason
    return None


async def hear(client: Any, *, until: Any) -> list[Any]:
    """All that is told up to `until`."""
    heard = []
    async with asyncio.timeout(WITHIN_S):
        while until not in heard:
            if (one := told(await anext(client))) is not None:
                heard.append(one)
    return heard


async def wait_for(client: Any, kind: type) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not isinstance(await anext(client), kind):
            pass


async def speak(client: Any, line: FaultProxy, say: Any) -> None:
    """A number a time, over an own connection, while the line of others is cut and mended."""
    for number in range(CUTS * OF_EACH):
        if number % OF_EACH == OF_EACH // 2:
            line.mode = "rst"
        if number % OF_EACH == OF_EACH - 1:
            line.mode = "pass"
        await say(number)
        await client.ping()


async def test_a_topic_is_whole_however_often_the_line_is_cut(server, line, entering):
    speaker = await entering.enter_async_context(topics(server, server.port))
    everything, some = [
        await entering.enter_async_context(topics(server, line.port)) for _ in range(2)
    ]
    await everything.subscribe("t")
    await some.subscribe("t", {"kind": 0})
    await some.subscribe("t", {"last": True})
    for one in (speaker, everything, some):
        await wait_for(one, Connected)
    last = CUTS * OF_EACH - 1

    async def say(number: int) -> None:
        said = {"n": number, "kind": number % 3, "last": number == last}
        await speaker.publish("t", said)

    await speak(speaker, line, say)
    assert await hear(everything, until=last) == list(range(last + 1))
    fitting = [number for number in range(last + 1) if number % 3 == 0 or number == last]
    assert await hear(some, until=last) == fitting


async def test_a_group_is_whole_however_often_the_line_is_cut(server, line, entering):
    speaker = await entering.enter_async_context(member("speaker", server.port))
    listener = await entering.enter_async_context(member("listener", line.port))
    for one in (speaker, listener):
        await wait_for(one, Connected)
    last = CUTS * OF_EACH - 1

    async def say(number: int) -> None:
        await speaker.send_group("hi", {"n": number})

    await speak(speaker, line, say)
    assert await hear(listener, until=last) == list(range(last + 1))


@pytest.mark.postgres
async def test_what_a_killed_process_has_missed_another_one_tells(server, serve, line, entering):
    second = serve(beside=server)
    client = await entering.enter_async_context(topics(server, line.port))
    speaker = await entering.enter_async_context(topics(second, second.port))
    await client.subscribe("t")
    for one in (client, speaker):
        await wait_for(one, Connected)
    await speaker.publish("t", {"n": 0})
    assert await hear(client, until=0) == [0]
    line.mode = "rst"
    await asyncio.to_thread(server.kill)
    await wait_for(client, Lost)
    await speaker.publish("t", {"n": 1})
    await speaker.ping()
    line.target = ("127.0.0.1", second.port)
    line.mode = "pass"
    await client.publish("t", {"n": 2})
    assert await hear(client, until=2) == [1, 2]


async def test_without_redis_a_restart_is_one_gap(serve, entering):
    server = serve(database="sqlite", DRAIN_S="1")
    client = await entering.enter_async_context(topics(server, server.port))
    await client.subscribe("t")
    await wait_for(client, Connected)
    await client.publish("t", {"n": 0})
    assert await hear(client, until=0) == [0]
    restarting = asyncio.create_task(asyncio.to_thread(server.terminate))
    await wait_for(client, Lost)
    assert await restarting == 0
    await client.publish("t", {"n": 1})
    await asyncio.to_thread(server.start)
    assert await hear(client, until=1) == ["epoch", 1]
