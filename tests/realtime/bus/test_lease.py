"""One of several processes holds a lease, and never two."""

from __future__ import annotations

import asyncio

import pytest
from redis import asyncio as aioredis

from realtime.bus import lease as leases
from realtime.bus.lease import LEASE_S, Lease
from tests.doubles import until

pytestmark = pytest.mark.redis

NAME = "gw.test.lease"


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
async def redis(redis_service):
    async with aioredis.Redis.from_url(redis_service.url) as client:
        yield client


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def two(redis_service, clock):
    return [Lease(redis_service.url, NAME, clock=clock) for _ in range(2)]


async def settled(redis, clock, *leases):
    """Who asks first holds it, after the time for which an older holder may believe in its own."""
    for lease in leases:
        await lease.renew(redis)
    for _ in range(3):
        clock.now += LEASE_S / 3
        for lease in leases:
            await lease.renew(redis)


async def test_one_holds_it_after_a_while_and_the_other_does_not(redis, clock, two):
    first, second = two
    await first.renew(redis)
    assert not first.held, "an older holder may believe in its own"
    await settled(redis, clock, first, second)
    assert (first.held, second.held) == (True, False)


async def test_a_holder_that_does_not_renew_ceases_before_another_begins(redis, clock, two):
    first, second = two
    await settled(redis, clock, first)
    await redis.delete(NAME)  # as Redis itself forgets it, in its own time, or at a restart
    await second.renew(redis)
    clock.now += LEASE_S / 3
    assert (first.held, second.held) == (True, False)
    await first.renew(redis)
    assert not first.held, "it has learnt of the other"
    clock.now += LEASE_S * 2 / 3
    await second.renew(redis)
    assert (first.held, second.held) == (False, True)


async def test_a_holder_that_was_stopped_does_not_believe_in_it_when_it_wakes(redis, clock, two):
    first, second = two
    await settled(redis, clock, first)
    assert first.held
    clock.now += LEASE_S
    assert not first.held
    await first.renew(redis)
    assert first.held, "nobody had it meanwhile"


async def test_it_lapses_in_redis_too(redis, two):
    await two[0].renew(redis)
    assert 0 < await redis.pttl(NAME) <= LEASE_S * 1000


async def test_it_is_kept_while_redis_is_there_and_not_for_ever_without(redis, redis_service):
    lease = Lease(redis_service.url, NAME)
    keeping = asyncio.create_task(lease.keep())
    await until(lambda: lease.held, 10 * LEASE_S)
    redis_service.kill()
    await asyncio.wait_for(keeping, 10 * LEASE_S)
    await until(lambda: not lease.held, 10 * LEASE_S)


async def test_who_is_told_to_end_does_so_whatever_it_is_at(redis, redis_service, monkeypatch):
    monkeypatch.setattr(leases, "RENEW_S", 0.0)
    names = [f"{NAME}.{number}" for number in range(100)]
    keepers = [asyncio.create_task(Lease(redis_service.url, name).keep()) for name in names]
    async with asyncio.timeout(60):
        while await redis.exists(*names) < len(names):
            await redis.ping()
    for keeper in keepers:
        keeper.cancel()
        await redis.ping()  # the next one is at something else
    _, still = await asyncio.wait(keepers, timeout=30)
    for keeper in still:
        keeper.cancel()
    assert not still
