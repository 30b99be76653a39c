"""Outside: what other programs publish to the Redis channel `nexus:broadcast` is telemetry.

Every process listens, and the one that holds a lease records what it hears, for all. At most once:
for some seconds after a holder's end nobody may.
Source: PROTOCOLS.md 5.5, 6 (004).
"""

from __future__ import annotations

import time

import structlog
from redis import asyncio as aioredis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from realtime.bus.hub import Hub
from realtime.bus.lease import Lease
from realtime.core import topics, wire
from realtime.core.errors import MalformedFrame

logger = structlog.get_logger("gateway")

CHANNEL = "nexus:broadcast"
LEASE = "gw.outside"
ACCOUNT = "default"  # of whatever names none (PROTOCOLS.md 6)
CONNECT_S = 1.0
QUIET_S = 5.0  # then Redis is asked whether it is still there


class Outside:
    """`url`: the Redis to listen to. Belongs to one event loop."""

    def __init__(self, hub: Hub, url: str) -> None:
        self._hub = hub
        self._url = url
        self._place = topics.address(ACCOUNT, topics.TELEMETRY)
        self.lease = Lease(url, LEASE)
        self._complained = False
        self._lost = False

    async def listen(self) -> None:
        """Until the line is lost; to be called again."""
        redis = aioredis.Redis.from_url(self._url, socket_connect_timeout=CONNECT_S)
        try:
            async with redis.pubsub(ignore_subscribe_messages=True) as line:
                await line.subscribe(CHANNEL)
                logger.info("bus.outside_heard", channel=CHANNEL)
                self._lost = False
                while True:
                    await self._hear(line)
        except (RedisError, OSError, TimeoutError) as error:
            if not self._lost:
                logger.warning("bus.outside_lost", channel=CHANNEL, error=type(error).__name__)
            self._lost = True
        finally:
            await redis.aclose()

    async def _hear(self, line: PubSub) -> None:
        """One message, or a sign of life."""
        said = await line.get_message(timeout=QUIET_S)
        if said is None:
            await line.ping()
            said = await line.get_message(timeout=QUIET_S)
            if said is None:
                raise TimeoutError
        if said["type"] == "message":
            self.say(said["data"])

    def say(self, text: bytes) -> None:
        """A message of another program, to whoever has subscribed to `telemetry`."""
        if not self.lease.held:
            return
        try:
            if len(text) > topics.MAX_BYTES:
                raise MalformedFrame(f"larger than {topics.MAX_BYTES} bytes")
            data = wire.decode(text)
        except MalformedFrame as error:
            if not self._complained:  # whoever sends one sends many
                logger.warning("bus.outside_dropped", channel=CHANNEL, reason=str(error))
            self._complained = True
            return
        event = topics.broadcast(topics.TELEMETRY, data, now=time.time())
        self._hub.record(self._place, event)
