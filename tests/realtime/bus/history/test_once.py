"""What every process says, because each follows the announcements: one number, heard once."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from realtime.bus import follow
from realtime.bus.history import commands, once
from realtime.bus.history.keeping import Bounds, Nothing
from realtime.bus.history.memory import Memory
from realtime.bus.hub import Hub
from realtime.core import addresses
from realtime.core.events import RESYNC, Event
from tests.doubles import until
from tests.realtime.bus.history.conftest import returns

pytestmark = pytest.mark.redis

TEAM = addresses.topic("nexus:a", "team ü")


def say(hub, *texts):
    """An announcement, as one process reads it."""
    for text in texts:
        hub.record(TEAM, Event("said", {"text": text}), once=f"key of {text}")


async def listener(hub):
    heard = []

    def hear(event):
        if event.name != RESYNC:
            heard.append((event.data["text"], event.position))

    await hub.join(TEAM, hear)
    return heard


def texts(heard):
    return [text for text, _ in heard]


def offsets(heard):
    return [at and at.offset for _, at in heard]


async def test_whoever_comes_first_numbers_it_and_all_hear_it_once(fleet):
    here, there, third = await fleet(), await fleet(), await fleet()
    lists = [await listener(hub) for hub in (here, there)]
    for number in range(50):
        for hub in (here, there, third) if number % 2 else (third, there, here):
            say(hub, f"{number}")
    await here.append(TEAM, Event("said", {"text": "end"}))
    for heard in lists:
        await until(lambda heard=heard: len(heard) >= 51)
        assert texts(heard) == [*(f"{number}" for number in range(50)), "end"]
        assert offsets(heard) == list(range(1, 52))
    assert lists[0] == lists[1]


async def test_who_reads_the_row_late_says_nothing_again(fleet):
    here, there = await fleet(), await fleet()
    near, far = await listener(here), await listener(there)
    say(here, "a")
    await until(lambda: near and far)
    say(there, "a")
    await there.append(TEAM, Event("said", {"text": "b"}))
    await until(lambda: len(near) == len(far) == 2)
    assert texts(near) == texts(far) == ["a", "b"]
    assert offsets(far) == [1, 2]


async def test_who_learns_from_redis_that_it_was_said_and_has_gone_deaf_says_it_itself(
    fleet, quick, monkeypatch
):
    here, there = await fleet(), await fleet()
    near, far = await listener(here), await listener(there)
    monkeypatch.setattr(there.history, "arrived", lambda message: None)
    there._line._recorded = there.history.arrived
    say(here, "a")
    await until(lambda: near)
    say(there, "a")
    await until(lambda: far)
    assert far == near


async def test_who_reads_the_row_behind_what_came_after_it_says_nothing(fleet, quick):
    """The row had its number while this process was deaf; what followed it heard."""
    here, there = await fleet(), await fleet()
    near, far = await listener(here), await listener(there)
    lost = []
    there._line._recorded = lost.append
    say(here, "a")
    await until(lambda: near and lost)
    there._line._recorded = there.history.arrived
    say(here, "b")
    await until(lambda: len(near) == 2 and far == near[1:])
    placed = []
    there.record(TEAM, Event("said", {"text": "a"}), placed.append, once="key of a")
    await until(lambda: placed)
    assert placed == [near[0][1]]
    assert far == near[1:]


async def test_with_redis_away_each_says_it_to_its_own_and_nobody_numbers_it_later(
    fleet, redis_service
):
    here, there = await fleet(), await fleet()
    near, far = await listener(here), await listener(there)
    back = returns(here, there)
    redis_service.kill()
    say(here, "a")
    await until(lambda: near, 10)
    assert near == [("a", None)]
    redis_service.restart()
    await until(back, 15)
    say(there, "a")  # it was stopped all the time
    await until(lambda: far)
    place = await there.append(TEAM, Event("said", {"text": "b"}))
    await until(lambda: len(near) == len(far) == 2)
    assert near == far == [("a", None), ("b", place)]
    assert place.offset == 1, "in the history is only what has a number"


async def test_what_is_said_while_redis_is_told_it_is_told_too(fleet, redis_service):
    here, there = await fleet(), await fleet()
    near, far = await listener(here), await listener(there)
    wire, back = here.history._wire, returns(here, there)
    connect = wire.connect

    async def while_it_answers(hello):
        answers = await connect(hello)
        wire.connect = connect
        say(here, "b")
        return answers

    wire.connect = while_it_answers
    redis_service.kill()
    say(here, "a")
    await until(lambda: near, 10)
    redis_service.restart()
    await until(back, 15)
    assert near == [("a", None), ("b", None)]
    say(there, "a", "b")  # it was stopped all the time
    await until(lambda: texts(far) == ["a", "b"])
    say(there, "c")
    await until(lambda: texts(near) == texts(far) == ["a", "b", "c"])
    assert offsets(near) == offsets(far) == [None, None, 1]


async def test_what_was_said_without_a_number_is_not_heard_again_with_one(fleet, quick):
    """One process has lost Redis while the other numbers it."""
    here, there = await fleet(), await fleet()
    near, far = await listener(here), await listener(there)
    here.history._lost(ConnectionError())
    say(here, "a")
    say(there, "a")
    await until(lambda: far)
    await until(lambda: here.history.up)
    place = await there.append(TEAM, Event("said", {"text": "b"}))
    await until(lambda: len(near) == len(far) == 2)
    assert near == [("a", None), ("b", place)]
    assert far[1] == ("b", place)
    assert place.epoch != far[0][1].epoch, "nobody recovers it a second time"


async def test_who_waits_for_its_number_learns_that_it_has_none(fleet, redis):
    hub, placed = await fleet(), []
    redis.set(f"{commands.REIGN_KEY}.once.key of a", "")
    hub.record(TEAM, Event("said", {"text": "a"}), placed.append, once="key of a")
    await until(lambda: placed)
    assert placed == [None]


async def test_a_key_stands_longer_than_an_announcement_and_then_leaves_nothing(fleet, redis):
    hub = await fleet()
    heard = await listener(hub)
    say(hub, "a")
    await until(lambda: heard)
    left_ms = redis.pttl(f"{commands.REIGN_KEY}.once.key of a")
    assert follow.KEEP.total_seconds() * 1000 < left_ms <= once.STANDS_MS


async def test_a_process_remembers_so_many_and_no_more(fleet, monkeypatch):
    monkeypatch.setattr(once, "MAX_KNOWN", 10)
    hub = await fleet()
    heard = await listener(hub)
    say(hub, *(f"{number}" for number in range(50)))
    await until(lambda: len(heard) == 50)
    assert len(hub.history._once._said) == 10
    assert not hub.history._once._waiting


@pytest.mark.parametrize("history", [Memory(Bounds()), Nothing()])
async def test_without_redis_or_a_history_it_is_heard_once_too(history):
    hub = Hub(history=history)
    heard = await listener(hub)
    say(hub, "a")
    assert texts(heard) == ["a"]


async def test_what_had_a_number_before_redis_was_restarted_gets_none_after_it(
    fleet, redis_service, quick
):
    """A process that was stopped all the time reads the row when it wakes."""
    here = await fleet()
    near = await listener(here)
    say(here, "a")
    await until(lambda: near)
    redis_service.restart()
    there = await fleet()
    events = []
    await there.join(TEAM, events.append)
    key = there.history._once.redis_key("key of a")
    async with Redis.from_url(redis_service.url) as redis, asyncio.timeout(30):
        while await redis.get(key) is None:  # by itself, though it has nothing to say
            await asyncio.sleep(0.05)
    say(there, "a")
    await until(lambda: events)
    assert (events[0].position, events[0].late) == (None, True)
    place = await there.append(TEAM, Event("said", {"text": "b"}))
    await until(lambda: len(near) == len(events) == 2)
    assert near[1] == ("b", place)
    assert place.offset == 1
