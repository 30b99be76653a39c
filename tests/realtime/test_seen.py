"""Who was heard of is told to Redis or, while it is away, to the rows; no frame writes."""

from __future__ import annotations

import datetime as dt
import time
from types import SimpleNamespace

import pytest

from realtime import seen as seeing
from realtime.core.principal import Principal
from realtime.neighbours import Arrival
from realtime.seen import Seen


class Redis:
    """Stands for `Live`."""

    def __init__(self, *given):
        self.up, self.told = True, []

    async def tell(self, seen, place_of):
        if not self.up:
            raise ConnectionError
        self.told.append({name: (at, place_of(name).key) for name, at in seen.items()})

    async def stop(self):
        self.told.append("stopped")


@pytest.fixture
def rows(monkeypatch):
    """What the rows were told, statement by statement."""
    written = []

    async def at_once(function, **given):
        written.append(given["connections"])

    monkeypatch.setattr(seeing, "housekeeping", at_once)
    return written


@pytest.fixture
def people():
    """`c1` and `c2` are present, `door` is not yet; all spoke just now."""
    now = time.time()
    names = ("c1", "c2", "door")
    connections = {name: SimpleNamespace(id=name, last_seen=now) for name in names}
    who = Principal(id="a", account="default", role="operator")
    present = {
        name: Arrival(name, who, "aether", f"aether:of {name}", name, "") for name in ("c1", "c2")
    }
    return connections, present


@pytest.fixture
def make(monkeypatch, settings, people):
    monkeypatch.setattr(seeing, "Live", Redis)

    def seen(redis="", ttl_s=3600):
        settings.REDIS_URL, settings.PRESENCE_TTL_S = redis, ttl_s
        return Seen("n1", *people)

    return seen


def moment(seconds):
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


async def test_with_redis_the_rows_are_left_alone(make, rows, people):
    seen = make("redis://somewhere")
    await seen.tell()
    await seen.stop()
    at = people[0]["c1"].last_seen
    told = {"c1": (at, "aether:of c1"), "c2": (at, "aether:of c2")}
    assert seen._live.told == [told, "stopped"]
    assert rows == []


async def test_while_redis_is_away_the_rows_are_told_at_once_and_then_as_without(
    make, rows, people, monkeypatch
):
    connections, _ = people
    long_ago = connections["c2"].last_seen = time.time() - 1000
    seen = make("redis://somewhere")
    seen._live.up = False
    await seen.tell()
    assert rows == [{"c1": moment(connections["c1"].last_seen), "c2": moment(long_ago)}]
    connections["c1"].last_seen = time.time() + 1
    await seen.tell()
    assert len(rows) == 1, "every 30 s"
    later = time.time() + 30
    monkeypatch.setattr(time, "time", lambda: later)
    await seen.tell()
    assert rows[1:] == [{"c1": moment(connections["c1"].last_seen)}]
    seen._live.up = True
    await seen.tell()
    assert len(rows) == 2 and len(seen._live.told) == 1


async def test_what_is_said_while_redis_is_waited_for_is_told_the_next_time(
    make, rows, people, monkeypatch
):
    connections, _ = people
    seen = make("redis://somewhere")

    async def silence(*given):
        connections["c1"].last_seen = max(time.time(), connections["c1"].last_seen)
        raise TimeoutError

    monkeypatch.setattr(seen._live, "tell", silence)
    await seen.tell()
    spoke = connections["c1"].last_seen
    later = time.time() + 30
    monkeypatch.setattr(time, "time", lambda: later)
    await seen.tell()
    assert rows[1:] == [{"c1": moment(spoke)}]


async def test_without_redis_the_rows_are_told_who_said_something(make, rows, people):
    connections, _ = people
    seen = make()
    assert seen.every_s == seeing.ROWS_S
    await seen.tell()
    await seen.tell()
    assert set(rows[0]) == {"c1", "c2"}
    assert len(rows) == 1, "nobody said anything: no statement"
    connections["c2"].last_seen = time.time() + 1
    await seen.tell()
    assert set(rows[1]) == {"c2"}
    await seen.stop()


async def test_nobody_counts_as_idle_for_want_of_being_told(make):
    assert make(ttl_s=6).every_s == make("redis://somewhere", ttl_s=6).every_s == 2
    assert make("redis://somewhere").every_s == seeing.LIVE_S
