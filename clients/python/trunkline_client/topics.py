"""`TopicClient`: subscribe with filters, publish, hear. See README.md."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlunsplit

from trunkline_client.connection import Door, Timing
from trunkline_client.credentials import Secret, shown
from trunkline_client.live import Failure, LiveClient
from trunkline_client.trail import Trail

ABSENT: Any = object()  # where a payload of None would be JSON's null
NO_FILTER = "{}"


@dataclass(frozen=True)
class Message:
    """What was said on a topic; `sender` is None where the server itself has said it."""

    channel: str
    data: Any
    sender: str | None
    timestamp: str
    epoch: str | None = None
    offset: int | None = None


@dataclass
class _Topic:
    filters: dict[str, dict[str, Any]]  # by their text: as JSON, 1 is not true
    trail: Trail = field(default_factory=Trail)
    plain: int = 0  # subscriptions without `since` that are not answered yet


class TopicClient(LiveClient[Message]):
    """Hears what fits the subscriptions and speaks on topics, over one connection after another.

    `token` may be a function, plain or async; it is asked at each attempt to connect. `queue_max`
    messages wait for a connection, `inbox_max` to be read. `options` go to `websockets`.
    """

    def __init__(
        self,
        url: str,
        token: Secret,
        *,
        queue_max: int = 1000,
        inbox_max: int = 1000,
        timing: Timing | None = None,
        chance: Callable[[], float] = random.random,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Raises ValueError for a wrong address."""
        self._token = token
        self._topics: dict[str, _Topic] = {}
        self.user_id = ""  # who the server says we are
        super().__init__(
            "topics",
            url,
            ping={"action": "ping"},
            renewable=callable(token),
            queue_max=queue_max,
            inbox_max=inbox_max,
            timing=timing,
            chance=chance,
            options=options,
        )

    async def subscribe(self, channel: str, filters: Mapping[str, Any] | None = None) -> None:
        """On this connection and all that follow. Several of one channel are a union.

        Raises TypeError for filters that are no mapping: with none, everything would be heard.
        """
        if not isinstance(filters, Mapping | None):
            raise TypeError("filters takes a mapping")
        wanted = dict(filters or {})
        key = json.dumps(wanted, sort_keys=True)
        topic = self._topics.get(channel)
        if topic is None:
            topic = self._topics[channel] = _Topic({key: wanted})
            await self._join(channel, topic)
        elif key not in topic.filters:
            topic.filters[key] = wanted
            await self._add(channel, topic, wanted)

    async def unsubscribe(self, channel: str) -> None:
        """End all subscriptions of exactly this channel."""
        if self._topics.pop(channel, None) is not None:
            await self._tell({"action": "unsubscribe", "channel": channel})

    async def publish(self, channel: str, payload: Any = ABSENT) -> None:
        """Now, or when connected and subscribed. Raises QueueFull, Revoked, RuntimeError."""
        said = {} if payload is ABSENT else {"payload": payload}
        await self._say({"action": "publish", "channel": channel, **said})

    # --- the wire ---

    async def _door(self) -> Door:
        token = f"token={quote(await shown(self._token, self._name), safe='')}"
        path = self._parts.path if self._parts.path.strip("/") else "/nexus/ws"
        query = f"{self._parts.query}&{token}" if self._parts.query else token
        return Door(urlunsplit(self._parts._replace(path=path, query=query, fragment="")))

    async def _greet(self) -> None:
        for channel, topic in list(self._topics.items()):
            await self._join(channel, topic)

    async def _join(self, channel: str, topic: _Topic) -> None:
        """All filters of a channel; the last one asks, so that what was missed fits any of them."""
        topic.plain = 0
        everything = NO_FILTER in topic.filters
        *others, last = [{}] if everything else topic.filters.values()
        since = topic.trail.ask(dense=everything)
        for wanted in others:
            await self._add(channel, topic, wanted)
        asked = {"epoch": since.epoch, "offset": since.offset} if since else None
        await self._tell({**_subscribe(channel, last), "since": asked})

    async def _add(self, channel: str, topic: _Topic, wanted: dict[str, Any]) -> None:
        topic.plain += 1
        await self._tell(_subscribe(channel, wanted))

    async def _hear(self, frame: Mapping[str, Any]) -> None:
        channel = str(frame.get("channel", ""))
        match frame.get("type"):
            case "message" | "broadcast":
                await self._message(channel, frame)
            case "pong":
                await self._pong()
            case "subscribed":
                await self._subscribed(channel, frame)
            case "connected":
                self.user_id = str(frame.get("userId", ""))
            case "error":
                self._fail(Failure(str(frame.get("message", ""))))

    async def _message(self, channel: str, frame: Mapping[str, Any]) -> None:
        topic = self._topics.get(channel)
        if topic is None:
            return
        if topic.trail.asked and "offset" not in frame:
            return  # it is in the replay, or what is missing is told of as a gap
        new, gap = topic.trail.heard(frame)
        await self._gap(gap, channel)
        if new:
            told = Message(
                channel=channel,
                data=frame.get("data"),
                sender=frame.get("from"),
                timestamp=str(frame.get("timestamp", "")),
                epoch=frame.get("epoch"),
                offset=frame.get("offset"),
            )
            await self._inbox.put(told)

    async def _subscribed(self, channel: str, frame: Mapping[str, Any]) -> None:
        topic = self._topics.get(channel)
        if topic is None:
            return
        if "recovered" not in frame and topic.plain:
            topic.plain -= 1
        elif "recovered" in frame or topic.trail.asked:  # without: the server knows no numbers
            await self._gap(topic.trail.answered(frame), channel)

    async def _greeted(self) -> None:
        for channel, topic in list(self._topics.items()):
            if topic.trail.asked:  # refused, or by a server that knows no numbers
                await self._gap(topic.trail.answered({}), channel)
            topic.trail.settle()


def _subscribe(channel: str, filters: dict[str, Any]) -> dict[str, Any]:
    said = {"action": "subscribe", "channel": channel}
    return {**said, "filters": filters} if filters else said
