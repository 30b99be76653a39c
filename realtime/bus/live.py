"""Live: when each connection was last heard of, in Redis, so that no frame writes to the database.

A sorted set for each place: its members are connections, its scores moments. The rows of presence
say who is here: what stands in a set without a row is nobody. Source: PROTOCOLS.md 4.5.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import redis
from redis import asyncio as aioredis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from realtime.core.addresses import Address

LOST = (RedisError, OSError, TimeoutError)
TIMEOUT_S = 1.0  # of a process's own telling
ANSWER_S = 0.5  # somebody waits for the page
AWAY_S = 5.0  # a Redis that did not answer is not waited for again
AT_ONCE = 1000  # entries, before others have their turn
MARK_S = 60  # a process that told nothing for so long may have more to tell

_News = tuple[str, str, float | None]  # key, connection, and when; None: it has gone


class Live:
    """What one process tells. Belongs to one event loop."""

    def __init__(self, url: str, node: Address, ttl_s: float) -> None:
        """`node`: this process; while its mark stands, all that it has told does."""
        self._redis = aioredis.Redis.from_url(
            url,
            retry=AsyncRetry(NoBackoff(), 0),
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
        )
        self._mark = _key(node)
        self._ttl_s = ttl_s
        self._told: dict[str, tuple[str, float]] = {}  # by connection

    async def tell(self, seen: Mapping[str, float], place_of: Callable[[str], Address]) -> None:
        """Tell what has changed of `seen`, all connections that are here; after a loss, all of it.

        Raises one of LOST.
        """
        oldest = time.time() - self._ttl_s
        try:
            if not await self._redis.expire(self._mark, MARK_S):
                self._told.clear()
            news = sorted(self._news(seen, place_of, oldest), key=lambda one: one[0])
            for start in range(0, len(news), AT_ONCE):
                await self._write(news[start : start + AT_ONCE], oldest)
            await self._redis.set(self._mark, 1, ex=MARK_S)
        except BaseException:  # also when cancelled: what has been told is not known
            self._told.clear()
            raise

    def _news(
        self, seen: Mapping[str, float], place_of: Callable[[str], Address], oldest: float
    ) -> Iterable[_News]:
        for connection in self._told.keys() - seen.keys():
            key, _ = self._told.pop(connection)
            yield key, connection, None
        for connection, at in seen.items():
            before = self._told.get(connection)
            if at < oldest or before is not None and before[1] == at:
                continue
            key = _key(place_of(connection))
            if before is not None and before[0] != key:  # it has become somebody else
                yield before[0], connection, None
            self._told[connection] = key, at
            yield key, connection, at

    async def _write(self, news: Sequence[_News], oldest: float) -> None:
        pipe = self._redis.pipeline(transaction=False)
        for key, some in groupby(news, key=lambda one: one[0]):
            entries = list(some)
            here = {connection: at for _, connection, at in entries if at is not None}
            gone = [connection for _, connection, at in entries if at is None]
            if gone:
                pipe.zrem(key, *gone)
            if here:
                pipe.zadd(key, here)
            # Neither the idle nor what a killed process has left stays for ever.
            pipe.zremrangebyscore(key, "-inf", f"({oldest}")
            pipe.expire(key, math.ceil(self._ttl_s) + 1)
        await pipe.execute()

    async def stop(self) -> None:
        with contextlib.suppress(*LOST):
            await self.tell({}, _nowhere)
            await self._redis.delete(self._mark)
        await self._redis.aclose()


def _nowhere(connection: str) -> Address:
    raise AssertionError("nobody is left")


@dataclass(frozen=True, slots=True)
class Told:
    """When connections were last heard of, in seconds since the epoch; whose processes have told
    all of theirs.
    """

    at: dict[str, float] = field(default_factory=dict)
    nodes: set[str] = field(default_factory=set)


class Reader:
    """What all processes have told, for threads."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=ANSWER_S,
            socket_connect_timeout=ANSWER_S,
        )
        self._away_until_s = 0.0

    def read(self, places: Mapping[Address, Sequence[str]], nodes: Mapping[str, Address]) -> Told:
        """Of these connections and processes; nothing of any when Redis does not answer."""
        if time.monotonic() < self._away_until_s:
            return Told()
        try:
            return self._read(places, nodes)
        except LOST:
            self._away_until_s = time.monotonic() + AWAY_S
            return Told()

    def _read(self, places: Mapping[Address, Sequence[str]], nodes: Mapping[str, Address]) -> Told:
        pipe = self._redis.pipeline(transaction=False)
        pipe.mget([_key(node) for node in nodes.values()])
        for place, connections in places.items():
            pipe.zmscore(_key(place), list(connections))
        marks, *scores = pipe.execute()
        told = Told(nodes={node for node, mark in zip(nodes, marks, strict=True) if mark})
        for connections, found in zip(places.values(), scores, strict=True):
            for connection, at in zip(connections, found, strict=True):
                if at is not None:
                    told.at[connection] = at
        return told


@functools.cache
def reader(url: str) -> Reader:
    """One for each Redis, however many threads ask."""
    return Reader(url)


def _key(address: Address) -> str:
    return f"live.{address.group()}"
