"""The history that processes share, on a real Redis: two hubs are two processes, with lines of
their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from realtime.bus.history import commands, streams
from realtime.core import addresses
from realtime.core.events import Event
from realtime.core.history import (
    EPOCH,
    EXPIRED,
    FUTURE,
    MISSED,
    TRIMMED,
    Gap,
    Position,
    Recovered,
)
from tests.doubles import until
from tests.realtime.bus.history.conftest import a_hub
from tests.realtime.bus.history.subscriber import TEAM, Subscriber, say

pytestmark = pytest.mark.redis


async def test_every_process_hears_the_same_numbers_in_the_same_order(fleet):
    here, there = await fleet(), await fleet()
    one, two = Subscriber(here), Subscriber(there)
    await one.come()
    await two.come()
    for number in range(100):
        say(here, f"here {number}")
        say(there, f"there {number}")
        if not number % 10:
            await asyncio.sleep(0)
    await until(lambda: len(one.heard) == len(two.heard) == 200)
    assert one.heard == two.heard
    assert one.gaps == two.gaps == []
    assert one.last == two.last
    assert one.last.offset == 200


async def test_two_event_loops_append_to_one_address(fleet, redis_service):
    here, count = await fleet(), 500
    subscriber = Subscriber(here)
    await subscriber.come()

    async def elsewhere():
        hub = await a_hub(redis_service.url)
        places = [await hub.append(TEAM, Event("said", {"text": "b"})) for _ in range(count)]
        await hub.stop()
        assert [place.offset for place in places] == sorted(place.offset for place in places)

    thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
    thread.start()
    for _ in range(count):
        await here.append(TEAM, Event("said", {"text": "a"}))
    await until(lambda: len(subscriber.heard) == 2 * count, 20)
    thread.join(10)
    assert subscriber.gaps == []
    assert sorted(subscriber.heard) == ["a"] * count + ["b"] * count


async def test_what_was_missed_is_recovered_in_another_process(fleet):
    here, there = await fleet(), await fleet()
    subscriber = Subscriber(here)
    await subscriber.come()
    say(here, "a")
    await until(lambda: subscriber.heard == ["a"])
    await subscriber.go()
    say(here, "b", "💙")
    await until(lambda: not here.history._pending)
    outcome = await subscriber.come(there)
    assert isinstance(outcome, Recovered)
    say(there, "d")
    await until(lambda: subscriber.heard == ["a", "b", "💙", "d"])
    assert subscriber.gaps == []


async def test_a_publisher_learns_the_number_with_and_without_members(fleet):
    hub = await fleet()
    alone = await hub.append(TEAM, Event("said", {"text": "a"}))
    await Subscriber(hub).come()
    assert await hub.append(TEAM, Event("said", {"text": "b"})) == (alone.epoch, 2)


async def test_more_messages_or_bytes_than_are_kept_are_a_gap(fleet):
    hub = await fleet(size=3, max_bytes=1000)
    await hub.since(TEAM, None)
    places = [await hub.append(TEAM, Event("said", {"text": str(n)})) for n in range(6)]
    assert await hub.since(TEAM, places[1]) == Gap(TRIMMED, places[-1])
    outcome = await hub.since(TEAM, places[2])
    assert [event.data["text"] for event in outcome.events] == ["3", "4", "5"]
    assert [event.position for event in outcome.events] == places[3:]
    large = await hub.append(TEAM, Event("said", {"text": "x" * 700}))
    assert (await hub.since(TEAM, places[3])).reason == TRIMMED
    assert isinstance(await hub.since(TEAM, places[4]), Recovered)
    larger = await hub.append(TEAM, Event("said", {"text": "x" * 1500}))
    assert (await hub.since(TEAM, large)).reason == TRIMMED
    assert isinstance(await hub.since(TEAM, larger), Recovered)


async def test_where_nobody_has_asked_nothing_is_kept_and_that_is_a_gap(fleet, redis):
    hub = await fleet()
    first = await hub.append(TEAM, Event("said", {"text": "a"}))
    second = await hub.append(TEAM, Event("said", {"text": "b"}))
    assert not redis.exists(commands.keys_of(TEAM)[1])
    assert await hub.since(TEAM, first) == Gap(EXPIRED, second)
    third = await hub.append(TEAM, Event("said", {"text": "c"}))
    outcome = await hub.since(TEAM, second)
    assert [event.position for event in outcome.events] == [third]
    assert await hub.since(TEAM, first) == Gap(EXPIRED, third)


async def test_where_an_epoch_ended_it_is_kept_again_when_somebody_asks_again(fleet, redis):
    hub = await fleet()
    await hub.since(TEAM, None)
    known, said = commands.keys_of(TEAM)
    redis.delete(known)
    await hub.append(TEAM, Event("said", {"text": "a"}))
    assert not redis.exists(said)


async def test_what_redis_keeps_of_an_address_is_bounded(fleet, redis):
    hub = await fleet(size=10)
    await hub.since(TEAM, None)
    for number in range(200):
        say(hub, str(number))
    await until(lambda: not hub.history._pending)
    _, key = commands.keys_of(TEAM)
    assert redis.xlen(key) == 10
    assert 0 < redis.pttl(key) <= 300_000
    assert all(redis.pttl(name) > 0 for name in redis.keys("gw.history.*"))


async def test_what_redis_keeps_of_all_addresses_is_bounded(fleet, redis):
    hub = await fleet(total_bytes=20_000)
    places = [addresses.topic("nexus:a", str(number)) for number in range(20)]
    first = (await hub.since(places[0], None)).position
    for place in places:
        last = (await hub.since(place, None)).position
        await hub.append(place, Event("said", {"text": "x" * 3000}))
        kept = [redis.memory_usage(key, samples=0) for key in redis.keys("*.said")]
        assert sum(kept) < 25_000
        assert int(redis.hget(commands.SIZES_KEY, "total")) <= 20_000
    assert (await hub.since(places[0], first)).reason == EPOCH, "the oldest went, and its epoch"
    outcome = await hub.since(places[-1], last)
    assert len(outcome.events) == 1, "the newest is there"
    sizes = {key: int(size) for key, size in redis.hgetall(commands.SIZES_KEY).items()}
    assert sizes.pop(b"total") == sum(sizes.values())
    assert set(redis.zrange(commands.USED_KEY, 0, -1)) == set(sizes)


async def test_a_book_that_redis_has_lost_half_of_is_begun_again(fleet, redis):
    hub = await fleet(total_bytes=20_000)
    await hub.since(TEAM, None)
    redis.hset(commands.SIZES_KEY, "total", 1_000_000)
    before = await hub.append(TEAM, Event("said", {"text": "a"}))
    assert int(redis.hget(commands.SIZES_KEY, "total")) < 2000
    await hub.append(TEAM, Event("said", {"text": "b"}))
    assert isinstance(await hub.since(TEAM, before), Recovered)


async def test_what_is_too_old_is_a_gap(fleet):
    hub = await fleet(ttl_s=2)
    here = (await hub.since(TEAM, None)).position
    await hub.append(TEAM, Event("said", {"text": "a"}))

    async def reason():
        outcome = await hub.since(TEAM, here)
        return outcome.reason if isinstance(outcome, Gap) else ""

    async with asyncio.timeout(30):
        while not await reason():
            await asyncio.sleep(0.02)
    assert await reason() == EXPIRED
    last = await hub.append(TEAM, Event("said", {"text": "b"}))
    assert await reason() == EXPIRED, "also when newer messages are there"
    assert isinstance(await hub.since(TEAM, Position(last.epoch, 1)), Recovered)


async def test_what_is_too_old_is_a_gap_where_something_is_said_all_the_time(fleet):
    hub = await fleet(ttl_s=1, size=100_000)
    here = (await hub.since(TEAM, None)).position
    async with asyncio.timeout(30):
        while isinstance(outcome := await hub.since(TEAM, here), Recovered):
            last = await hub.append(TEAM, Event("said", {"text": "a"}))
            await asyncio.sleep(0.01)
    assert outcome == Gap(EXPIRED, last)


async def test_what_was_said_here_without_its_number_is_not_heard_again(fleet):
    hub = await fleet()
    subscriber = Subscriber(hub)
    await subscriber.come()
    late = {
        "origin": hub.history._origin,
        "number": 7,
        "address": TEAM.pack(),
        "event": Event("said", {"text": "late"}).pack(),
        "at": ["e", 1],
    }
    hub.history.arrived(late)
    assert subscriber.heard == []


async def test_no_epoch_is_another_epoch(fleet):
    hub = await fleet()
    here = await hub.append(TEAM, Event("said", {"text": "a"}))
    for offset in (0, 1, 2):
        assert await hub.since(TEAM, Position("", offset)) == Gap(EPOCH, here)


async def test_another_epoch_and_an_offset_nobody_has_had_are_gaps(fleet):
    hub = await fleet()
    here = await hub.append(TEAM, Event("said", {"text": "a"}))
    assert await hub.since(TEAM, Position("f" * 16, 1)) == Gap(EPOCH, here)
    assert await hub.since(TEAM, Position(here.epoch, 2)) == Gap(FUTURE, here)


async def test_a_subscription_that_is_not_confirmed_recovers_nothing(fleet, monkeypatch):
    hub = await fleet()
    before = (await hub.since(TEAM, None)).position
    here = await hub.append(TEAM, Event("said", {"text": "a"}))

    async def never(group, within_s):
        return False

    monkeypatch.setattr(hub._line._layer, "hears", never, raising=False)
    outcome, _ = await hub.recover(TEAM, lambda event: None, before)
    assert outcome == Gap(MISSED, here)


async def test_who_leaves_and_comes_back_at_once_waits_for_its_new_subscription(
    fleet, redis_service
):
    hub = await fleet()
    layer, group = hub._line._layer, TEAM.group()
    await hub.join(TEAM, print)
    assert await layer.hears(group, 30)
    pubsub, answers = layer._get_layer()._shards[0]._pubsub, []
    handle, channel = pubsub.handle_message, layer.frame(group, {})[0]

    async def note(answer, *more):
        handled = await handle(answer, *more)
        if answer[1] == channel.encode():
            answers.append((answer[0].decode(), channel in pubsub.confirmed))
        return handled

    pubsub.handle_message = note
    redis_service.stop()  # it reads nothing: what is sent now waits
    try:
        await hub.leave(TEAM, print)
        await hub.join(TEAM, print)
        assert not await layer.hears(group, 0.1)
        await hub.leave(TEAM, print)
        await hub.join(TEAM, print)
    finally:
        redis_service.cont()
    assert await layer.hears(group, 30)
    first, last = answers[:3], answers[3:]
    assert first == [("unsubscribe", False), ("subscribe", False), ("unsubscribe", False)]
    assert last == [("subscribe", True)]


async def test_who_stops_asking_takes_nobody_with_it(fleet):
    hub = await fleet()
    here = await hub.append(TEAM, Event("said", {"text": "a"}))
    connection = hub.history._wire._connection
    for turns in range(20):
        asking = asyncio.create_task(hub.since(TEAM, here))
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
    assert hub.history._wire._connection is connection
    assert (await hub.append(TEAM, Event("said", {"text": "b"}))) == (here.epoch, 2)


async def test_nobody_waits_for_a_number_when_the_process_stops(fleet, redis_service, quick):
    hub = await fleet()
    await Subscriber(hub).come()
    place = await hub.append(TEAM, Event("said", {"text": "a"}))
    hub._line._recorded = lambda message: None  # the bus brings nothing any more
    known = asyncio.create_task(hub.append(TEAM, Event("said", {"text": "b"})))
    await until(lambda: any(one.position for one in hub.history._pending.values()))
    redis_service.stop()
    unknown = asyncio.create_task(hub.append(TEAM, Event("said", {"text": "c"})))
    try:
        await asyncio.sleep(0)
        await hub.stop()
    finally:
        redis_service.cont()
    async with asyncio.timeout(30):
        assert await known == (place.epoch, 2)
        assert await unknown is None
        assert await hub.append(TEAM, Event("said", {"text": "d"})) is None


async def test_more_than_can_wait_goes_out_unnumbered(fleet, monkeypatch):
    monkeypatch.setattr(streams, "MAX_BACKLOG", 10)
    hub = await fleet()
    subscriber = Subscriber(hub)
    await subscriber.come()
    say(hub, *map(str, range(50)))
    assert len(hub.history._pending) <= 10
    await until(lambda: hub.history.up)
    await until(lambda: len(subscriber.heard) == 50)
    assert sorted(map(int, subscriber.heard)) == list(range(50))


async def test_ten_thousand_messages_while_subscribers_come_and_go(fleet):
    here, there = await fleet(size=20_000), await fleet(size=20_000)
    stays, moves = Subscriber(here), Subscriber(there)
    await stays.come()
    await moves.come()
    total = 10_000
    for number in range(total):
        say(here if number % 2 else there, str(number))
        if not number % 100:
            await asyncio.sleep(0.001)
        if number % 2000 == 1000:
            await moves.go()
        elif number and not number % 2000:
            await moves.come(here if number % 4000 else there)
    await moves.go()
    await until(lambda: len(stays.heard) == total, 60)
    await moves.come(here)
    assert stays.gaps == moves.gaps == []
    assert len(moves.heard) == total
    assert moves.heard == stays.heard


async def test_what_goes_to_other_processes_without_a_number_is_late_there(fleet):
    """It goes another way than what has numbers, which may overtake it."""
    here, there = await fleet(), await fleet()
    near, far = [], []
    await here.join(TEAM, near.append)
    await there.join(TEAM, far.append)
    here.history._lost(ConnectionError())
    say(here, "a")
    await until(lambda: near and far)
    assert (near[0].late, far[0].late) == (False, True)
