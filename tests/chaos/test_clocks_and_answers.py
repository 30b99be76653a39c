"""F-23, F-24: clocks that are wrong, and answers that come often, early or late."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import os
import signal
import time
from collections import Counter

import httpx
import pytest

from tests.chaos import checker
from tests.chaos.fleet import ALICE, Caller, FaultyServe, at_once, count, ended
from tests.services.people import key_of

pytestmark = [pytest.mark.live, pytest.mark.chaos, pytest.mark.timeout(count(120, 600))]

NAMES = ["edge_0", "edge_1", "edge_2"]
WRITTEN = {"scheduled": 1, "leased": 1, "delivered": 1}
QUICK = {"COMMAND_LEASE_S": "2", "NODE_LEASE_S": "5"}


KATHMANDU = dt.timezone(dt.timedelta(hours=5, minutes=45))
BERLIN = {"TZ": "CET-1CEST,M3.5.0,M10.5.0/3"}
# At 3 o'clock it becomes 2 o'clock there, a few seconds after the process has started.
LEAVING_DST = dt.datetime(2026, 10, 25, 1, tzinfo=dt.UTC) - dt.timedelta(seconds=6)


def in_(seconds, zone=dt.UTC):
    return (dt.datetime.now(zone) + dt.timedelta(seconds=seconds)).isoformat()


@pytest.mark.postgres
async def test_f23_processes_with_wrong_clocks_deliver_in_time(serve, agents):
    fast = serve(program=FaultyServe, database="postgres", CLOCK="600", **QUICK)
    beside = functools.partial(serve, program=FaultyServe, beside=fast)
    switch = str(LEAVING_DST.timestamp() - time.time())
    slow, autumn = await at_once(
        functools.partial(beside, CLOCK="-600"), functools.partial(beside, CLOCK=switch, **BERLIN)
    )
    skewed = [(fast, 86400), (slow, -86400), (autumn, 0)]
    crowds = [
        agents([name], server, clock=clock)
        for name, (server, clock) in zip(NAMES, skewed, strict=True)
    ]
    url = fast.environ["DATABASE_URL"]
    caller = Caller([server.url for server, _ in skewed], NAMES)
    await caller.send(count(6, 100), deliver_at=in_(1.5, KATHMANDU), expires_at=in_(60))
    away = Caller([slow.url, fast.url], ["edge_away"])
    lost = await away.send(1, expires_at=in_(6))
    for server in (fast, autumn):
        os.kill(server.pid, signal.SIGUSR1)  # one hour back
    await caller.send(count(6, 50), deliver_at=in_(1))
    await ended(url)
    lines = [line for crowd in crowds for line in crowd.lines()]
    books = checker.check(url, [*caller.accepted.values(), *lost], lines)
    assert {row.status for name, row in books.commands.items() if name not in lost} == {"completed"}
    assert [books.commands[name].status for name in lost] == ["expired"]
    assert {line.agent for line in lines if line.what == "seen"} == set(NAMES)


@pytest.mark.parametrize("field", ["deliver_at", "expires_at"])
@pytest.mark.parametrize(
    "moment", ["2030-01-01T00:00:00", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "tomorrow"]
)
async def test_f23_absurd_times_are_refused_by_name(one_server, field, moment):
    async with httpx.AsyncClient(base_url=one_server.url, headers=ALICE, timeout=30) as http:
        asked = {"agent_id": "edge_0", "command_type": "set_rule", "payload": {}, field: moment}
        answer = await http.post("/api/edge/commands/", json=asked)
    assert answer.status_code == 400
    assert field in answer.json()["error"]["message"]


@pytest.fixture(scope="module")
def one_server(serve_for_module):
    return serve_for_module(database="sqlite", COMMAND_LEASE_S="600")


async def patiently(http, path, **request):
    """Again, when the server closed a line that had been idle just as it was used."""
    deadline_s = time.monotonic() + 60
    while True:
        try:
            return await http.post(path, **request)
        except httpx.TransportError:
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.05)


async def test_f24_many_answers_at_once_early_and_late(one_server, agents):
    server, url = one_server, one_server.environ["DATABASE_URL"]
    crowd = agents(NAMES[:2], server, ack=[])
    secret = {"Authorization": f"Bearer {server.environ['EDGE_SECRET']}"}
    limits = httpx.Limits(max_connections=count(20, 100))
    http = httpx.AsyncClient(
        base_url=server.url, timeout=httpx.Timeout(60, pool=None), limits=limits
    )

    async def ack(command, status, agent="edge_0"):
        body = {"edge_agent_id": agent, "command_id": command, "status": status}
        answer = await patiently(http, "/edge/command/ack", json=body, headers=secret)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def events(command):
        found = [(kind, data) for c, kind, _, _, data in checker.read(url).events if c == command]
        return Counter(kind for kind, _ in found)

    late = count(10, 1000)
    async with http:
        caller = Caller([server.url], ["edge_0"])
        many, cancelled, early = await caller.send(3, at_once=1)
        while len(crowd.seen()) < 3:
            await asyncio.sleep(0.02)
        statuses = ["received", "executing", "completed", "failed"] * count(25, 250)
        await asyncio.gather(*[ack(many, status) for status in statuses])
        counted = events(many)
        assert set(counted.values()) == {1}
        assert checker.read(url).commands[many].status == "failed"

        stop = await http.post(f"/api/edge/commands/{cancelled}/cancel/", headers=ALICE)
        assert stop.status_code == 200
        await asyncio.gather(*[ack(cancelled, "completed") for _ in range(late)])
        assert events(cancelled) == {**WRITTEN, "cancelled": 1, "late": 1}
        assert checker.read(url).commands[cancelled].status == "cancelled"

        await ack(early, "completed", agent="edge_1")  # of another agent
        assert events(early) == WRITTEN
        (waiting,) = await caller.send(1, deliver_at=in_(600))
        await ack(waiting, "completed")  # before it was written
        assert events(waiting) == {"scheduled": 1}
        await http.post(f"/api/edge/commands/{waiting}/cancel/", headers=ALICE)

        (expired,) = await caller.send(1, expires_at=in_(6))
        while expired in checker.read(url).open:
            await asyncio.sleep(0.05)
        await asyncio.gather(*[ack(expired, "completed") for _ in range(late)])
        assert events(expired) == {**WRITTEN, "expired": 1, "late": 1}
        assert checker.read(url).commands[expired].status == "expired"
        await ack(early, "completed")
    assert server.log().count("command.ack_ignored") >= 2
    await ended(url)
    checker.check(url, caller.accepted.values(), crowd.lines())
    assert key_of("alice") not in server.log()
