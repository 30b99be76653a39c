"""Who comes back to a topic or a group has all of it in order, or is told of one gap.

Two processes, Redis, and what may happen to them. Source: docs/decisions/0010-recovery.md.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import jwt
import pytest
from websockets.asyncio.client import connect

from tests.live.follower import (
    Follower,
    Gap,
    GroupFollower,
    TopicFollower,
    eventually,
    faults,
    holes,
)
from tests.live.member import Member
from tests.services.people import key_of

pytestmark = [pytest.mark.live, pytest.mark.postgres, pytest.mark.redis, pytest.mark.timeout(180)]

MESSAGES, FEWER = 10_000, 4_000  # half on a topic, half in a group
AT_ONCE, PAUSE_S = 25, 0.02  # what a publisher says before it makes sure that it is dealt with
STOPPED_S = 5.0
AWAY_S = 0.1  # of those who come and go
VISIT_S = 0.4


def token_of(server, who):
    claims = {"userId": who, "role": "agent"}
    return jwt.encode(claims, server.environ["NEXUS_JWT_SECRET"], algorithm="HS256")


class Publisher:
    """Says numbers on a topic and in a group, by one process, in turn."""

    def __init__(self, server):
        self.server, self.number = server, 0

    async def __aenter__(self):
        self.stack = AsyncExitStack()
        url = self.server.url.replace("http", "ws")
        path = f"{url}/nexus/ws?token={token_of(self.server, 'publisher')}"
        self.topic = await self.stack.enter_async_context(connect(path, proxy=None))
        await self.topic.recv()
        self.group = await self.stack.enter_async_context(
            Member(self.server, "alice", "big", "publisher")
        )
        return self

    async def __aexit__(self, *details):
        await self.stack.aclose()

    async def say(self, count):
        for _ in range(count):
            said = {"who": "peer", "n": self.number}
            self.number += 1
            await self.topic.send(
                json.dumps({"action": "publish", "channel": "big", "payload": said})
            )
            await self.group.say("group", payload=said)
            if not self.number % AT_ONCE:
                await self.topic.send('{"action":"ping"}')
                await self.topic.recv()
                await self.group.echo(f"fence {self.number}")
                self.group.heard.clear()
                await asyncio.sleep(PAUSE_S)


@asynccontextmanager
async def server_says(server) -> AsyncIterator[None]:
    """The server's own word all the time, by REST: at most one at a time, with numbers, too."""

    async def say():
        headers = {"Authorization": f"Bearer {key_of('alice')}"}
        async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=30) as http:
            for number in itertools.count():
                said = {"who": "server", "n": number}
                topic = await http.post("/api/topics/big/publish/", json={"data": said})
                group = await http.post("/api/groups/big/messages/", json={"payload": said})
                assert (topic.status_code, group.status_code) == (202, 202)
                await asyncio.sleep(0.05)

    saying = asyncio.create_task(say())
    try:
        yield
    finally:
        saying.cancel()
        await asyncio.gather(saying, return_exceptions=True)


async def come_and_go(follower: Follower, processes, done) -> None:
    """Short visits, each to another process of those that answer."""
    for turn in itertools.count():
        here = processes[turn % len(processes)]
        if done():
            return
        told, leaves_s = len(follower.answers), time.monotonic() + VISIT_S

        def is_enough(told: int = told, leaves_s: float = leaves_s) -> bool:
            return len(follower.answers) > told and time.monotonic() > leaves_s

        try:
            await follower.stay(here, is_enough, STOPPED_S)
        except (TimeoutError, OSError):
            continue  # it is stopped: to the other one
        await asyncio.sleep(AWAY_S)


async def missed_and_had(here, there):
    """Followers go, everybody speaks, they come back `there` and know all of it, in order."""
    topic, group = TopicFollower(token_of(here, "f")), GroupFollower("alice", "f")
    for follower in (topic, group):
        await follower.stay(here, lambda one=follower: one.began, 30)
    places = [follower.at for follower in (topic, group)]
    async with Publisher(here) as publisher:
        await publisher.say(40)
        here.run("publish", "big", '{"who": "server", "n": 0}')
        async with httpx.AsyncClient(
            base_url=there.url, headers={"Authorization": f"Bearer {key_of('alice')}"}, timeout=30
        ) as http:
            for number in range(3):
                said = {"who": "server", "n": number}
                if number:
                    await http.post("/api/topics/big/publish/", json={"data": said})
                await http.post("/api/groups/big/messages/", json={"payload": said})
        await publisher.say(5)
        for follower in (topic, group):
            await follower.stay(
                there,
                lambda one=follower: one.newest("server") == 2 and one.newest("peer") == 44,
                30,
            )
    for follower, (epoch, offset) in zip((topic, group), places, strict=True):
        assert not faults(follower.got)
        assert not [one for one in follower.got if isinstance(one, Gap)]
        peers = [number for who, number in follower.got if who == "peer"]
        assert peers == list(range(45))
        assert [number for who, number in follower.got if who == "server"] == [0, 1, 2]
        assert follower.at == (epoch, offset + len(follower.got)), "no number is missing"
        assert [answer["recovered"] for answer in follower.answers] == [True, True]
        assert follower.recovered >= 40
    return group


async def test_who_comes_back_to_another_process_has_all_that_was_missed(serve):
    here = serve(database="postgres", AETHER_ANNOUNCE_PRESENCE="on")
    there = serve(beside=here)
    group = await missed_and_had(here, there)
    assert group.newest("presence") >= 1, "its own, and the publisher's"


async def test_without_redis_one_process_remembers_too(serve):
    server = serve(database="sqlite")
    await missed_and_had(server, server)


async def test_what_is_said_while_no_process_is_up_is_missed_by_nobody_who_comes_back(serve):
    server = serve(database="postgres")
    follower = TopicFollower(token_of(server, "f"))
    await follower.stay(server, lambda: follower.began, 30)
    server.kill()
    for number in range(3):
        server.run("publish", "big", json.dumps({"who": "server", "n": number}))
    server.start()
    await follower.stay(server, lambda: follower.newest("server") == 2, 30)
    assert follower.got == [("server", number) for number in range(3)]
    assert [answer["recovered"] for answer in follower.answers] == [True, True]


@pytest.mark.parametrize(
    ("together", "messages"),
    [(True, MESSAGES), (False, FEWER)],
    ids=["together", "one after the other"],
)
async def test_all_in_order_or_one_gap_whatever_happens(serve, redis_service, together, messages):
    """One of two processes is stopped for 5 s, and Redis is restarted once: then or later."""
    here = serve(database="postgres", HISTORY_SIZE="20000")
    there = serve(beside=here)
    ended = False

    def done() -> bool:
        return ended

    staying = {}
    for place in (here, there):
        name = "near" if place is here else "far"
        staying[TopicFollower(token_of(here, name))] = place
        staying[GroupFollower("alice", name)] = place
    commuters = [
        TopicFollower(token_of(here, "tram")),
        GroupFollower("alice", "tram"),
    ]
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        for follower, place in staying.items():
            tasks.create_task(follower.stay(place, done, 120))
        await eventually(lambda: all(follower.began for follower in staying), "all listen")
        for follower in commuters:
            tasks.create_task(come_and_go(follower, [here, there], done))
        publisher = await stack.enter_async_context(Publisher(here))
        await stack.enter_async_context(server_says(here))
        half = messages // 2
        await publisher.say(half // 10)
        began_s = time.monotonic()
        there.stop()
        if together:
            await publisher.say(half // 10)
            redis_service.restart()
        while time.monotonic() - began_s < STOPPED_S and publisher.number < half * 7 // 10:
            await publisher.say(AT_ONCE)
        await asyncio.sleep(max(0.0, began_s + STOPPED_S - time.monotonic()))
        there.cont()
        await publisher.say(half // 10)
        if not together:
            redis_service.restart()
        await publisher.say(half - publisher.number)
        everybody = [*staying, *commuters]
        async with asyncio.timeout(40):
            while not all(follower.newest("peer") >= half for follower in everybody):
                await publisher.say(AT_ONCE)
                await asyncio.sleep(0.3)
        ended = True
    for follower in everybody:
        assert not faults(follower.got), follower
        assert follower.newest("server") > 10
    for follower in staying:  # each process has lost Redis once
        assert len(holes(follower.got, "peer")) <= 2
    for follower in commuters:
        assert follower.recovered, "some of it by coming back"


def test_the_judge_sees_what_is_wrong():
    gap = Gap("told")
    assert not faults([("a", 1), ("b", 7), ("a", 2), ("b", 8), gap, ("a", 5), ("b", 9)])
    assert faults([("a", 1), ("a", 1)]) == ["a 1 after 1"]
    assert faults([("a", 1), gap, ("a", 3), ("a", 2)]) == ["a 2 after 3"]
    assert len(faults([("a", 1), ("a", 3)])) == 1
    assert len(faults([("a", 1), gap, ("a", 3), ("a", 5)])) == 1
    assert holes([("a", 1), gap, ("a", 4), ("b", 1), ("a", 5)], "a") == [(2, 3)]
