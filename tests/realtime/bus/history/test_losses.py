"""What Redis, the bus and processes lose, and what subscribers hear of it: two hubs are two
processes, with lines of their own.
"""

from __future__ import annotations

import asyncio

import pytest

from realtime.bus.history import commands, streams
from realtime.core import addresses
from realtime.core.events import RESYNC, Event
from realtime.core.history import (
    AWAY,
    EPOCH,
    Gap,
    Recovered,
)
from tests.doubles import until
from tests.realtime.bus.history.conftest import returns
from tests.realtime.bus.history.subscriber import OTHER, TEAM, Subscriber, say

pytestmark = pytest.mark.redis


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
    await until(lambda: one.heard == ["a", "b", "during"], 30)
    assert await here.since(TEAM, one.last) == Gap(AWAY)
    redis_service.restart()
    await until(back, 30)
    outcome = await two.come()
    assert isinstance(outcome, Gap)
    assert outcome.reason == EPOCH
    say(here, "after")
    await until(lambda: one.heard[-1] == two.heard[-1] == "after", 30)
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
    assert loop.time() - began < 5
    await until(lambda: len(one.heard) == 51, 30)
    assert (await here.since(TEAM, one.last)).reason == AWAY
    redis_service.cont()
    await until(lambda: here.history.up, 30)
    say(here, "after")
    await until(lambda: one.heard[-1] == two.heard[-1] == "after", 30)
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
    await until(lambda: hub.history._wire._client != stranger and hub.history.up, 30)
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
    await until(lambda: hub.history.up and hub.connected, 30)
    say(hub, "b")
    await until(lambda: subscriber.heard == ["a", "b"], 30)
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
    await until(lambda: subscriber.heard == ["a", "b", "c"], 30)
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
    await until(back, 30)
    say(there, "c")
    await until(lambda: subscriber.heard[-1:] == ["c"], 30)
    assert subscriber.heard == ["a", "b", "c"]
    assert len(subscriber.gaps) == 1


async def test_what_the_bus_died_with_comes_before_what_has_no_number(fleet, redis_service):
    hub = await fleet()
    subscriber = Subscriber(hub)
    await subscriber.come()
    await deaf_to(hub, ["a", "b"])
    redis_service.kill()
    say(hub, "c")
    await until(lambda: subscriber.heard[-1:] == ["c"], 30)
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
    await until(lambda: not awaited(here), 30)
    assert subscriber.heard == ["b"]
