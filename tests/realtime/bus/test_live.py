"""When connections were last heard of, on a real Redis: told by processes, read by threads."""

from __future__ import annotations

import time

import pytest
from redis import Redis as Client

from realtime.bus import live
from realtime.bus.live import LOST, Live, Reader, Told
from realtime.core import addresses
from realtime.threads import in_thread

pytestmark = pytest.mark.redis

BUSY_S = 5.0  # that the machine may take for itself
PATIENCE = {"ANSWER_S": 30.0, "TIMEOUT_S": 5.0}  # with a Redis of which nothing is wrong

TEAM = addresses.place("default", "aether", "aether:team ü")
OTHER = addresses.place("other", "aether", "aether:team ü")
NODES = {name: addresses.node(name) for name in ("n1", "n2")}


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Redis has as long as a busy machine needs, but where a test is about that."""
    with monkeypatch.context() as longer:
        for name, seconds in PATIENCE.items():
            longer.setattr(live, name, seconds)
        yield longer


@pytest.fixture
async def process(redis_service):
    """`process(name, ttl_s)`: one process's telling."""
    made = []

    def make(name="n1", ttl_s=60.0):
        made.append(Live(redis_service.url, NODES[name], ttl_s))
        return made[-1]

    yield make
    for one in made:
        await one.stop()


@pytest.fixture
def raw(redis_service):
    with Client.from_url(redis_service.url) as client:
        yield client


def in_team(connection):
    return TEAM


async def read(redis_service, places):
    return await in_thread(Reader(redis_service.url).read, places, NODES)


async def test_what_one_process_tells_all_read(process, redis_service):
    now = time.time()
    await process("n1").tell({"a": now, "b": now - 5}, in_team)
    await process("n2").tell({"c": now - 1}, in_team)
    told = await read(redis_service, {TEAM: ["a", "b", "c", "d"]})
    assert told == Told({"a": now, "b": now - 5, "c": now - 1}, {"n1", "n2"})


async def test_a_place_of_the_same_name_in_another_account_is_another_place(process, redis_service):
    await process().tell({"a": time.time()}, in_team)
    assert (await read(redis_service, {OTHER: ["a"]})).at == {}


async def test_only_who_said_something_is_told_again(process, raw):
    one, now = process(), time.time()
    await one.tell({"a": now - 9, "b": now - 9}, in_team)
    raw.zrem(key(), "a", "b")  # so that what comes again is seen
    await one.tell({"a": now - 9, "b": now}, in_team)
    assert raw.zrange(key(), 0, -1) == [b"b"]


async def test_who_leaves_is_removed_and_nobody_else(process, raw):
    older, newer, now = process("n1"), process("n2"), time.time()
    await older.tell({"old tab": now, "new tab": now}, in_team)
    await newer.tell({"elsewhere": now}, in_team)
    await older.tell({"new tab": now}, in_team)
    assert raw.zrange(key(), 0, -1) == [b"elsewhere", b"new tab"]


async def test_who_has_become_somebody_else_is_in_one_place(process, raw):
    one, now = process(), time.time()
    await one.tell({"a": now - 1}, in_team)
    await one.tell({"a": now}, lambda connection: OTHER)
    assert raw.zrange(key(), 0, -1) == []
    assert raw.zrange(key(OTHER), 0, -1) == [b"a"]


async def test_a_redis_that_has_lost_everything_is_told_everything(process, raw, redis_service):
    one, now = process(), time.time()
    await one.tell({"a": now - 9, "b": now}, in_team)
    redis_service.kill()
    with pytest.raises(LOST):
        await one.tell({"a": now - 9, "b": now}, in_team)
    redis_service.restart()
    assert await read(redis_service, {TEAM: ["a", "b"]}) == Told()
    await one.tell({"a": now - 9, "b": now}, in_team)
    assert (await read(redis_service, {TEAM: ["a", "b"]})).at == {"a": now - 9, "b": now}
    raw.flushall()
    await one.tell({"a": now - 9, "b": now}, in_team)
    assert raw.zcard(key()) == 2


async def test_the_idle_are_dropped_and_nothing_stays_for_ever(process, raw, monkeypatch):
    one, now = process(ttl_s=60), time.time()
    await one.tell({"a": now - 30, "long idle": now - 61}, in_team)
    assert raw.zrange(key(), 0, -1) == [b"a"]
    assert 0 < raw.ttl(key()) <= 61
    assert 0 < raw.ttl(key(NODES["n1"])) <= live.MARK_S
    monkeypatch.setattr(time, "time", lambda: now + 31)
    await one.tell({"a": now - 30, "b": now + 31}, in_team)
    assert raw.zrange(key(), 0, -1) == [b"b"]


async def test_no_key_is_made_of_what_users_say(process, raw):
    await process().tell({"a": time.time()}, in_team)
    for name in raw.keys("*"):
        assert name.startswith(b"live.gw.") and len(name) == len("live.gw.") + 40


async def test_many_are_told_and_read_in_a_few_exchanges(process, raw, redis_service):
    one, now = process(), time.time()
    names = [f"c{number}" for number in range(2500)]
    before = raw.info("stats")["total_commands_processed"]
    await one.tell(dict.fromkeys(names, now), in_team)
    told = await read(redis_service, {TEAM: names})
    assert set(told.at) == set(names)
    # For each thousand: ZADD, trim, expire; the mark twice; two reads; hello of the connections.
    assert raw.info("stats")["total_commands_processed"] - before < 30


async def test_a_process_that_stops_takes_back_what_it_told(process, raw):
    one = process()
    await one.tell({"a": time.time()}, in_team)
    await one.stop()
    assert raw.keys() == []


@pytest.mark.parametrize("what", ["stop", "kill"])
async def test_a_redis_that_is_away_or_frozen_holds_nobody_up(
    process, redis_service, what, patient
):
    await process().tell({"a": time.time()}, in_team)
    assert (await read(redis_service, {TEAM: ["a"]})).at
    patient.undo()
    reader, one = Reader(redis_service.url), process()
    getattr(redis_service, what)()
    began = time.monotonic()
    assert await in_thread(reader.read, {TEAM: ["a"]}, NODES) == Told()
    assert time.monotonic() - began < 2 * live.ANSWER_S + BUSY_S
    began = time.monotonic()
    for _ in range(20):  # nor does anybody wait for it again and again
        assert await in_thread(reader.read, {TEAM: ["a"]}, NODES) == Told()
    assert time.monotonic() - began < live.ANSWER_S + BUSY_S
    with pytest.raises(LOST):
        await one.tell({"a": time.time()}, in_team)
    assert time.monotonic() - began < live.ANSWER_S + 2 * live.TIMEOUT_S + 2 * BUSY_S


def key(address=TEAM):
    return f"live.{address.group()}"
