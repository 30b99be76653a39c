"""What other programs say over Redis; over a real one in `tests/live/test_topics.py`."""

from __future__ import annotations

import pytest

from realtime.bus import outside
from realtime.bus.history.keeping import Bounds
from realtime.bus.history.memory import Memory
from realtime.bus.hub import Hub
from realtime.bus.outside import Outside
from realtime.core import topics


class Held:
    held = True


@pytest.fixture
def hub():
    return Hub(history=Memory(Bounds()))


@pytest.fixture
def other(hub):
    outside = Outside(hub, "redis://127.0.0.1:1/0")
    outside.lease = Held()
    return outside


async def test_it_is_told_to_telemetry_of_the_default_account_alone(hub, other):
    heard = {}
    for account, channel in (("default", "telemetry"), ("default", "x"), ("other", "telemetry")):
        heard[account, channel] = told = []
        await hub.join(topics.address(account, channel), told.append)
    other.say(b'{"cpu":7}')
    ((event,), *others) = heard.values()
    assert (event.name, event.data["data"], others) == (topics.BROADCAST, {"cpu": 7}, [[], []])


async def test_what_is_no_json_is_dropped_and_told_of_once(hub, other, monkeypatch):
    heard, told = [], []
    monkeypatch.setattr(outside.logger, "warning", lambda name, **fields: told.append(name))
    await hub.join(topics.address("default", "telemetry"), heard.append)
    for odd in (b"{", b"\xff", b'"\\u0000"', b"[" * 5000, b" " * 2**20 + b"1", b"1", b""):
        other.say(odd)
    assert [event.data["data"] for event in heard] == [1]
    assert told == ["bus.outside_dropped"]


async def test_it_is_kept_for_those_who_come_later(other, hub):
    place = topics.address("default", "telemetry")
    before = (await hub.since(place, None)).position
    other.say(b'{"cpu":7}')
    (event,) = (await hub.since(place, before)).events
    assert event.data["data"] == {"cpu": 7}


async def test_who_does_not_hold_the_lease_leaves_it_to_who_does(hub, other, monkeypatch):
    monkeypatch.setattr(Held, "held", False)
    monkeypatch.setattr(outside.wire, "decode", lambda text: pytest.fail("it was read"))
    other.say(b'{"cpu":7}')


async def test_a_redis_that_is_away_is_told_of_once(other, monkeypatch):
    told = []
    monkeypatch.setattr(outside.logger, "warning", lambda name, **fields: told.append(name))
    for _ in range(2):
        await other.listen()
    assert told == ["bus.outside_lost"]
