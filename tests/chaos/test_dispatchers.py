"""F-25, F-26: dispatchers beside each other, and one that sleeps too long."""

from __future__ import annotations

import asyncio
import time

import pytest

from bench import drain
from tests.chaos.checker import check
from tests.chaos.fleet import FULL, Caller, FaultyDispatcher, count, ended
from tests.services import until

pytestmark = [
    pytest.mark.live,
    pytest.mark.chaos,
    pytest.mark.timeout(count(240, 600)),
    pytest.mark.postgres,
]

NAMES = ["edge_0", "edge_1"]


def test_f25_dispatchers_beside_each_other_and_many_due_rows(postgres_settings):
    agents = count(10, 800)
    figures = drain.measure(
        lambda *_: None,
        postgres_settings,
        rows=agents * 25,
        agents=agents,
        dispatchers=count(2, 4),
    )
    assert figures["rows"] == agents * 25
    assert (figures["claimed twice"], figures["seen twice"], figures["missing"]) == (0, 0, 0)
    if FULL:  # a drain of a few rows is over before it can tell
        # Nobody starves: within 2 s, or, on a slow machine, in the first quarter of the time in
        # which all is seen. Whoever were served last would get the first one near the end of it.
        took_s = figures["rows"] / figures["seen per s"]
        assert figures["last agent's first, s"] < max(2, took_s / 4)


@pytest.mark.parametrize("point", ["claiming", "claimed"])
async def test_f26_a_dispatcher_that_stalls_is_fenced_off(serve, agents, point):
    """In its transaction, or after it: others do its work, its late write changes nothing."""
    quick = {"COMMAND_LEASE_S": "2", "NODE_LEASE_S": "2"}
    server = serve("--no-dispatcher", database="postgres", **quick)
    crowd = agents(NAMES, server)
    stalled = serve(program=FaultyDispatcher, beside=server, FAULT=f"{point}:1:SIGSTOP")
    caller = Caller([server.url], NAMES)
    await caller.send(count(6, 40))
    await asyncio.to_thread(until, lambda: frozen(stalled.pid), 90, "stall")
    serve(program=FaultyDispatcher, beside=server)
    began_s = time.monotonic()
    url = server.environ["DATABASE_URL"]
    await ended(url)
    await asyncio.sleep(max(0.0, began_s + count(0, 40) - time.monotonic()))  # as long as F-26 says
    before = check(url, caller.accepted.values(), crowd.lines())
    stalled.cont()
    await caller.send(4)  # it wakes to work, too
    await ended(url)
    after = check(url, caller.accepted.values(), crowd.lines())
    assert set(before.events) <= set(after.events)
    new = {event[0] for event in set(after.events) - set(before.events)}
    assert not new & before.commands.keys(), "a late write changed something"
    assert stalled.terminate() == 0


def frozen(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as state:
        return state.read().rpartition(")")[2].split()[0] == "T"
