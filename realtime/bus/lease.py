"""Lease: which of the processes does what only one may do. Redis keeps it, for a few seconds.

A holder that stops or loses Redis ceases to believe in it before anybody else begins to: there is
never a second one, and for some seconds there may be none.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable

from redis import asyncio as aioredis
from redis.exceptions import RedisError

LEASE_S = 3.0
RENEW_S = 1.0
ANSWER_S = 1.0  # for Redis to answer

# KEYS: 1 the lease. ARGV: 1 who asks for it; 2 for how long, in ms. Returns 0 when it is another's,
# 1 when it was the asker's already, 2 when it was nobody's.
TAKE = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return holder and 1 or 2
"""


class Lease:
    """`name` is the key in Redis. `clock`: monotonic seconds. Belongs to one event loop."""

    def __init__(self, url: str, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._name = name
        self._clock = clock
        self._holder = secrets.token_hex(8)
        self._from_s = self._until_s = 0.0

    @property
    def held(self) -> bool:
        return self._from_s <= self._clock() < self._until_s

    async def keep(self) -> None:
        """Until Redis is lost; to be called again."""
        # Without `socket_timeout`: with it redis-py writes in `wait_for`, where Python 3.11 loses a
        # cancellation.
        redis = aioredis.Redis.from_url(self._url, socket_connect_timeout=ANSWER_S)
        try:
            while True:
                async with asyncio.timeout(ANSWER_S):
                    await self.renew(redis)
                await asyncio.sleep(RENEW_S)
        except (RedisError, OSError, TimeoutError):
            return  # it lapses by itself; the listener beside it has told the log
        finally:
            await redis.aclose()

    async def renew(self, redis: aioredis.Redis) -> None:
        """Take it, or keep it. Raises what Redis does."""
        asked_s = self._clock()
        taken = await redis.execute_command(
            "EVAL", TAKE, 1, self._name, self._holder, round(LEASE_S * 1000)
        )
        if not taken:
            self._until_s = 0.0
            return
        if taken == 2 and asked_s >= self._until_s:
            self._from_s = self._clock() + LEASE_S  # so long an older holder may believe in its own
        self._until_s = asked_s + LEASE_S
