"""The bridge to blocking work: who does not wait behind whom."""

from __future__ import annotations

import asyncio
import threading

import pytest

from realtime.core.waiting import WORK_S, answer_within_s
from realtime.threads import housekeeping, in_thread, reading

MANY = 20  # more than any pool has threads


@pytest.mark.parametrize("busy", [in_thread, reading])
async def test_the_process_and_its_peers_do_not_wait_behind_each_other(busy):
    gate = threading.Event()
    waiting = [asyncio.create_task(busy(gate.wait)) for _ in range(MANY)]
    try:
        others = [way for way in (in_thread, reading, housekeeping) if way is not busy]
        done = asyncio.gather(*(way(lambda: "done") for way in others))
        assert await asyncio.wait_for(done, 30) == ["done", "done"]
    finally:
        gate.set()
        await asyncio.gather(*waiting)


@pytest.mark.parametrize("way", [in_thread, housekeeping, reading])
async def test_nothing_waits_for_ever_for_a_database_that_is_frozen(way):
    assert answer_within_s.get() is None  # as in a migration
    assert await way(answer_within_s.get) == WORK_S
