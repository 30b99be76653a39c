"""The Redis channel layer: channels-redis' pub/sub layer, made to survive what Redis and others do
to it.

The core layer loses messages silently and dies with Redis (PROTOCOLS.md 0.3). The pub/sub layer
survives, but waits for ever on a stalled Redis and never says that something was missed: both are
mended here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import structlog
from channels_redis.pubsub import (
    RedisPubSubChannelLayer,
    RedisPubSubLoopLayer,
    RedisSingleShardConnection,
)
from channels_redis.utils import create_pool, decode_hosts
from redis import asyncio as aioredis
from redis.asyncio.client import PubSub

logger = structlog.get_logger("gateway")

TIMEOUT_S = 1.0  # a stalled Redis must not hold a publisher
RETRY_S = 0.5


class PubSubLayer(RedisPubSubChannelLayer):
    """As configured by `CHANNEL_LAYERS`; `hosts` are what channels-redis takes.

    `on_resubscribe`, when set, is called after a lost connection has come back: messages of the
    time between are gone.
    """

    on_resubscribe: Callable[[], None] | None = None

    def _get_layer(self) -> RedisPubSubLoopLayer:
        layer = super()._get_layer()
        if not isinstance(layer._shards[0], _Shard):
            layer._shards = [_Shard(host, layer) for host in decode_hosts(self._kwargs["hosts"])]
        return layer

    async def new_channel(self, prefix: str = "specific.") -> str:
        """As upstream, but a failed attempt leaves no queue behind."""
        channels = self._get_layer().channels
        before = set(channels)
        try:
            name: str = await self._get_layer().new_channel(prefix)
        except BaseException:
            for left in set(channels) - before:
                del channels[left]
            raise
        return name

    def frame(self, group: str, message: dict[str, Any]) -> tuple[str, bytes]:
        """The Redis channel of `group`, and `message` as `group_send` would publish it there."""
        return self._get_layer()._get_group_channel_name(group), self.serialize(message)

    async def hears(self, group: str, within_s: float) -> bool:
        """Whether the subscription of `group` is confirmed by Redis, or will be in time."""
        layer = self._get_layer()
        channel = layer._get_group_channel_name(group)
        return await layer._get_shard(channel).confirmed(channel, within_s)

    async def drop_subscription(self) -> None:
        """Cut the subscribing connections: they come back, and `on_resubscribe` is called."""
        for shard in self._get_layer()._shards:
            await shard.drop_subscription()


class _NoticingPubSub(PubSub):
    """redis-py reconnects by itself and in silence; this one says so."""

    def __init__(self, pool: aioredis.ConnectionPool, resubscribed: Callable[[], None]) -> None:
        super().__init__(pool)
        self._resubscribed = resubscribed
        self.confirmed: set[str] = set()
        self._unanswered: Counter[str] = Counter()  # changes that are on their way
        self.waiting: dict[str, asyncio.Event] = {}

    async def handle_message(self, response: Any, ignore_subscribe_messages: bool = False) -> Any:
        kind, channel = ("", "")
        if isinstance(response, list):
            kind, channel = (_text(part) for part in response[:2])
        if kind in ("subscribe", "unsubscribe"):
            self.confirmed.discard(channel)
            self._unanswered[channel] -= 1
            if self._unanswered[channel] <= 0:  # else Redis has yet to read what came after this
                del self._unanswered[channel]
                if kind == "subscribe":
                    self._confirm(channel)
        return await super().handle_message(response, ignore_subscribe_messages)

    def _confirm(self, channel: str) -> None:
        self.confirmed.add(channel)
        if channel in self.waiting:
            self.waiting[channel].set()

    async def execute_command(self, *args: Any) -> None:
        if args[0] in ("SUBSCRIBE", "UNSUBSCRIBE"):
            channels = [_text(channel) for channel in args[1:]]
            self.confirmed.difference_update(channels)
            self._unanswered.update(channels)
        await super().execute_command(*args)

    async def on_connect(self, connection: Any) -> None:
        self.confirmed.clear()
        self._unanswered.clear()
        await super().on_connect(connection)
        self._resubscribed()


class _Shard(RedisSingleShardConnection):
    """One Redis: publishing with a time limit, and a subscription that outlives it."""

    _redis: Any
    _pubsub: Any

    async def publish(self, channel: str, message: bytes) -> None:
        self._ensure_redis()
        # Not `wait_for`: in Python 3.11 it loses a cancellation that comes with the answer.
        async with asyncio.timeout(TIMEOUT_S):
            await self._redis.publish(channel, message)

    async def subscribe(self, channel: str) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            await super().subscribe(channel)

    async def unsubscribe(self, channel: str) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            await super().unsubscribe(channel)

    async def confirmed(self, channel: str, within_s: float) -> bool:
        """Whether Redis has confirmed this subscription, or does so in time."""
        pubsub = self._pubsub
        if pubsub is None or channel in pubsub.confirmed:
            return pubsub is not None
        said = pubsub.waiting.setdefault(channel, asyncio.Event())
        try:
            await asyncio.wait_for(said.wait(), within_s)
        except TimeoutError:
            return False
        finally:
            pubsub.waiting.pop(channel, None)
        return True

    def _ensure_redis(self) -> None:
        if self._pubsub is None:
            self._redis = aioredis.Redis(connection_pool=create_pool(self.host))
            self._pubsub = _NoticingPubSub(create_pool(self.host), self._notice)

    def _notice(self) -> None:
        on_resubscribe = self.channel_layer.channel_layer.on_resubscribe
        if on_resubscribe is not None:
            on_resubscribe()

    async def flush(self) -> None:
        pubsub = self._pubsub
        await super().flush()
        if pubsub is not None:
            await pubsub.aclose()
            await pubsub.connection_pool.disconnect()

    async def drop_subscription(self) -> None:
        if self._pubsub is not None and self._pubsub.connection is not None:
            await self._pubsub.connection.disconnect(nowait=True)

    async def _do_receiving(self) -> None:
        failing = False
        while True:
            try:
                if self._pubsub is not None and self._pubsub.subscribed:
                    self._receive_message(
                        await self._pubsub.get_message(
                            ignore_subscribe_messages=True, timeout=TIMEOUT_S
                        )
                    )
                else:
                    await asyncio.sleep(0.05)
                failing = False
            except Exception as error:
                if not failing:
                    logger.warning("bus.receive_failed", error=type(error).__name__)
                failing = True
                await asyncio.sleep(RETRY_S)


def _text(part: Any) -> str:
    return part.decode(errors="replace") if isinstance(part, bytes) else str(part)
