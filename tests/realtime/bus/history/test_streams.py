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
from realtime.core.events import RESYNC, Event
from realtime.core.history import (
    AWAY,
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
from tests.realtime.bus.history.conftest import a_hub, returns

pytestmark = pytest.mark.redis

TEAM, OTHER = addresses.topic("nexus:a", "team ü"), addresses.topic("nexus:a", "other")


class Subscriber:
    """Goes, and comes back to recover; keeps what a client would have at the end."""

    def __init__(self, hub):
        self.hub = hub
        self.last = None
        self.heard = []
        self.gaps = []
        self.resyncs = 0

    def hear(self, event):
        if event.name == RESYNC:
            self.resyncs += 1
            return
        at = event.position
        if at is not None and self.last is not None:
            follows = (self.last.epoch, self.last.offset + 1)
            if at != follows:
                self.gaps.append((self.last, at))
        self.last = at or self.last
        self.heard.append(event.data["text"])

    async def come(self, hub=None):
        self.hub = hub or self.hub
        outcome, gate = await self.hub.recover(TEAM, self.hear, self.last)
        if isinstance(outcome, Recovered):
            for event in outcome.events:
                self.hear(event)
        else:
            self.gaps.append(outcome.reason)
        self.last = outcome.position or self.last
        gate.open()
        return outcome

    async def go(self):
        await self.hub.leave(TEAM, self.hear)


def say(hub, *texts, address=TEAM):
    for text in texts:
        hub.record(address, Event("said", {"text": text}))


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
    hub = await fleet(ttl_s=0.2)
    here = (await hub.since(TEAM, None)).position
    await hub.append(TEAM, Event("said", {"text": "a"}))

    async def reason():
        outcome = await hub.since(TEAM, here)
        return outcome.reason if isinstance(outcome, Gap) else ""

    async with asyncio.timeout(5):
        while not await reason():
            await asyncio.sleep(0.02)
    assert await reason() == EXPIRED
    last = await hub.append(TEAM, Event("said", {"text": "b"}))
    assert await reason() == EXPIRED, "also when newer messages are there"
    assert isinstance(await hub.since(TEAM, Position(last.epoch, 1)), Recovered)


async def test_what_is_too_old_is_a_gap_where_something_is_said_all_the_time(fleet):
    hub = await fleet(ttl_s=1, size=100_000)
    here = (await hub.since(TEAM, None)).position
    async with asyncio.timeout(10):
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


@pytest.mark.parametrize("lost", ["both", "known", "said", "reign", "everything"])
async def test_whatever_redis_has_lost_is_a_gap(fleet, redis, lost):
    hub = await fleet()
    here = (await hub.since(TEAM, None)).position
    say(hub, "a", "b")
    await hub.append(TEAM, Event("said", {"text": "c"}))
    known, said = commands.keys_of(TEAM)
    keys = {"both": [known, said], "known": [known], "said": [said], "reign": ["gw.history"]}
    redis.delete(*keys[lost]) if lost in keys else redis.flushall()
    assert isinstance(await hub.since(TEAM, here), Gap)
    say(hub, "d", "e", "f")
    await until(lambda: not hub.history._pending)
    assert isinstance(await hub.since(TEAM, here), Gap)


async def test_a_restart_with_data_from_a_disk_is_another_epoch(fleet, redis_service, redis):
    """An older snapshot would give numbers out a second time."""
    hub = await fleet()
    before = await hub.append(TEAM, Event("said", {"text": "a"}))
    redis.save()
    try:
        after = await hub.append(TEAM, Event("said", {"text": "not on the disk"}))
        redis_service.restart()
    finally:
        (redis_service.folder / "dump.rdb").unlink()
    known, _ = commands.keys_of(TEAM)
    assert redis.hget(known, "epoch").decode() == before.epoch
    for position in (before, after):
        assert (await hub.since(TEAM, position)).reason == EPOCH
    place = await hub.append(TEAM, Event("said", {"text": "b"}))
    assert place.epoch != before.epoch
    assert place.offset == 1


async def test_redis_restarted_empty_is_one_explicit_gap_and_life_goes_on(fleet, redis_service):
    here, there = await fleet(), await fleet()
    one, two = Subscriber(here), Subscriber(there)
    await one.come()
    await two.come()
    say(here, "a", "b")
    await until(lambda: one.heard == two.heard == ["a", "b"])
    await two.go()
    back = returns(here, there)
    redis_service.kill()
    say(here, "during")
    await until(lambda: one.heard == ["a", "b", "during"], 10)
    assert await here.since(TEAM, one.last) == Gap(AWAY)
    redis_service.restart()
    await until(back, 15)
    outcome = await two.come()
    assert isinstance(outcome, Gap)
    assert outcome.reason == EPOCH
    say(here, "after")
    await until(lambda: one.heard[-1] == two.heard[-1] == "after", 10)
    assert len(one.gaps) == 1, "the live one sees the other epoch"
    assert two.gaps == [EPOCH]


async def test_a_frozen_redis_holds_nobody_up_and_nothing_is_heard_twice(
    fleet, redis_service, quick
):
    here, there = await fleet(), await fleet()
    one, two = Subscriber(here), Subscriber(there)
    await one.come()
    await two.come()
    say(here, "a")
    await until(lambda: one.heard == two.heard == ["a"])
    redis_service.stop()
    loop = asyncio.get_running_loop()
    began = loop.time()
    say(here, *(f"frozen {number}" for number in range(50)))
    assert loop.time() - began < 0.5
    await until(lambda: len(one.heard) == 51, 10)
    assert (await here.since(TEAM, one.last)).reason == AWAY
    redis_service.cont()
    await until(lambda: here.history.up, 10)
    say(here, "after")
    await until(lambda: one.heard[-1] == two.heard[-1] == "after", 10)
    assert len(one.heard) == len(set(one.heard)) == 52
    assert len(two.heard) == len(set(two.heard))
    assert one.gaps, "the other epoch"
    assert two.gaps, "the other epoch"


async def test_a_restarted_redis_keeps_the_connections_of_others(fleet, redis_service, redis):
    """It numbers its connections from 1 again: what was ours is now a stranger's."""
    hub = await fleet()
    redis_service.kill()
    redis_service.start()
    stranger = hub.history._wire._client = redis.client_id()
    say(hub, "a")
    await until(lambda: hub.history._wire._client != stranger and hub.history.up, 15)
    assert await hub.append(TEAM, Event("said", {"text": "b"}))
    assert stranger in {int(client["id"]) for client in redis.client_list()}


async def test_a_redis_that_ends_no_connections_is_used_all_the_same(fleet, redis, caplog):
    hub = await fleet()
    redis.execute_command("ACL", "SETUSER", "default", "-client", "+client|id")
    try:
        hub.history._lost(ConnectionError())
        await until(lambda: hub.history.up)
    finally:
        redis.execute_command("ACL", "SETUSER", "default", "+@all")
    assert "history.old_connection_stays" in caplog.text
    assert await hub.append(TEAM, Event("said", {"text": "a"}))


async def test_a_process_that_finds_no_redis_publishes_unnumbered_and_numbers_later(
    fleet, redis_service
):
    redis_service.kill()
    hub = await fleet()
    subscriber = Subscriber(hub)
    assert (await subscriber.come()).reason == AWAY
    say(hub, "a")
    assert subscriber.heard == ["a"]
    redis_service.restart()
    await until(lambda: hub.history.up and hub.connected, 15)
    say(hub, "b")
    await until(lambda: subscriber.heard == ["a", "b"], 10)
    assert subscriber.last.offset == 1


async def test_an_address_where_redis_refused_a_message_begins_a_new_epoch(fleet, redis):
    here, there = await fleet(), await fleet()
    one, two = Subscriber(here), Subscriber(there)
    await one.come()
    await two.come()
    before = await here.append(TEAM, Event("said", {"text": "a"}))
    aside = await here.append(OTHER, Event("said", {"text": "a"}))
    redis.config_set("maxmemory", 1)
    try:
        assert await here.append(TEAM, Event("said", {"text": "refused"})) is None
        await until(lambda: two.heard == ["a", "refused"])
    finally:
        redis.config_set("maxmemory", 0)
    await until(lambda: here.history.up)
    after = await here.append(TEAM, Event("said", {"text": "b"}))
    assert after.epoch != before.epoch
    assert (await there.since(TEAM, before)).reason == EPOCH
    assert isinstance(await there.since(OTHER, aside), Recovered), "others keep theirs"


async def refuse(redis, hub, *addresses):
    """Something is said at `addresses` while Redis has no memory left."""
    redis.config_set("maxmemory", 1)
    try:
        for address in addresses:
            say(hub, "refused", address=address)
        await until(lambda: not hub.history._pending)
    finally:
        redis.config_set("maxmemory", 0)


async def test_who_recovered_before_the_epoch_ended_is_told_to_look_again(fleet, redis):
    here, there = await fleet(), await fleet()
    subscriber, aside = Subscriber(there), []
    await there.join(OTHER, aside.append)
    await subscriber.come()
    await here.append(TEAM, Event("said", {"text": "a"}))
    await until(lambda: subscriber.heard == ["a"])
    await subscriber.go()
    async with here.history._opening:  # it has said something, and has not come back yet
        await refuse(redis, here, TEAM)
        assert isinstance(await subscriber.come(), Recovered), "nobody can know better"
    await until(lambda: subscriber.resyncs)
    assert (await there.since(TEAM, subscriber.last)).reason == EPOCH
    assert aside == [], "whoever is concerned, and nobody else"


async def test_where_many_epochs_end_everybody_is_told_to_look_again(fleet, redis, monkeypatch):
    monkeypatch.setattr(streams, "MANY", 1)
    here, there = await fleet(), await fleet()
    heard = []
    await there.join(addresses.everyone(addresses.SYSTEM), heard.append)
    for address in (TEAM, OTHER):
        await here.append(address, Event("said", {"text": "a"}))
    await refuse(redis, here, TEAM, OTHER)
    await until(lambda: heard)
    assert [event.name for event in heard] == [RESYNC]


async def test_a_flushed_script_is_loaded_again(fleet, redis):
    hub = await fleet()
    await hub.append(TEAM, Event("said", {"text": "a"}))
    redis.script_flush()
    await hub.append(TEAM, Event("said", {"text": "b"}))
    await until(lambda: hub.history.up)
    assert (await hub.append(TEAM, Event("said", {"text": "c"}))).offset == 1


async def test_a_process_that_has_gone_deaf_still_hears_itself(fleet, redis, quick):
    hub = await fleet()
    subscriber = Subscriber(hub)
    await subscriber.come()
    say(hub, "a")
    await until(lambda: subscriber.heard == ["a"])
    shard = hub._line._layer._get_layer()._shards[0]
    shard._receive_task.cancel()  # the subscription is there, and nobody reads it
    say(hub, "b", "c")
    await until(lambda: subscriber.heard == ["a", "b", "c"], 10)
    assert subscriber.gaps == []


async def deaf_to(hub, words):
    """Redis has numbered `words` of `hub`, and the bus will not bring them: it died before."""
    lost = []
    hub._line._recorded = lost.append
    say(hub, *words)
    await until(lambda: len(lost) == awaited(hub) == len(words))
    hub._line._recorded = hub.history.arrived


def awaited(hub):
    return sum(one.position is not None for one in hub.history._pending.values())


async def test_what_the_bus_died_with_comes_before_what_redis_says_when_it_is_back(
    fleet, redis_service
):
    here, there = await fleet(), await fleet()
    subscriber = Subscriber(here)
    await subscriber.come()
    await deaf_to(here, ["a", "b"])
    back = returns(here, there)
    redis_service.restart()
    await until(back, 15)
    say(there, "c")
    await until(lambda: subscriber.heard[-1:] == ["c"], 10)
    assert subscriber.heard == ["a", "b", "c"]
    assert len(subscriber.gaps) == 1


async def test_what_the_bus_died_with_comes_before_what_has_no_number(fleet, redis_service):
    hub = await fleet()
    subscriber = Subscriber(hub)
    await subscriber.come()
    await deaf_to(hub, ["a", "b"])
    redis_service.kill()
    say(hub, "c")
    await until(lambda: subscriber.heard[-1:] == ["c"], 10)
    assert subscriber.heard == ["a", "b", "c"]
    redis_service.start()


async def test_what_others_have_spoken_after_already_is_heard_by_nobody(fleet, quick):
    here, there = await fleet(), await fleet()
    subscriber = Subscriber(here)
    await subscriber.come()
    await deaf_to(here, ["a"])
    say(there, "b")
    await until(lambda: subscriber.heard == ["b"])
    assert len(subscriber.gaps) == 1
    await until(lambda: not awaited(here), 10)
    assert subscriber.heard == ["b"]


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
    assert await layer.hears(group, 5)
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
    assert await layer.hears(group, 5)
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
    async with asyncio.timeout(5):
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
    await until(lambda: len(stays.heard) == total, 30)
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
