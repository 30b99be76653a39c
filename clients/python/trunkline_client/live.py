"""What clients share that come back: a connection, what waits for it, what was heard."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from trunkline_client.connection import (
    Connection,
    Door,
    Loss,
    Stopped,
    Timing,
    unencrypted,
    websocket,
)
from trunkline_client.inbox import Inbox

log = logging.getLogger("trunkline_client")

E = TypeVar("E")
REVOKED = 4003
REFUSED = {401: "there is no token", 403: "the credentials are refused", 429: "too many attempts"}


class Revoked(Exception):
    """Access was revoked or has expired, and there are no other credentials to show."""


class QueueFull(Exception):
    """As much waits for a connection as may: this was not kept."""


@dataclass(frozen=True)
class Connected:
    """All subscriptions stand again; what waited is sent after them."""


@dataclass(frozen=True)
class Lost:
    """A connection ended, or an attempt failed; the next follows after `delay_s`, or none does."""

    loss: Loss
    delay_s: float | None


@dataclass(frozen=True)
class Gap:
    """Some of what was said to a group, or on `channel`, may be missing before what comes next."""

    reason: str
    channel: str = ""


@dataclass(frozen=True)
class Failure:
    """The server's word that something was refused; it does not say which frame it answers."""

    message: str
    errors: tuple[Mapping[str, Any], ...] = ()


class LiveClient(ABC, Generic[E]):
    """`async with` connects and closes, `async for` hears; `E` is what can be heard.

    The server answers in order: when the first ping is answered, all that was asked before it is.
    `renewable`: the credentials are functions, and may be other ones after a 4003.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        ping: Mapping[str, Any],
        renewable: bool,
        queue_max: int,
        inbox_max: int,
        timing: Timing | None,
        chance: Callable[[], float] = random.random,
        options: Mapping[str, Any] | None,
        delay: Callable[[Loss], float | None] = lambda loss: None,
        ping_frames: bool = False,
    ) -> None:
        """Raises ValueError for a wrong address."""
        self._name = name
        self._parts = websocket(url)
        if unencrypted(self._parts.geturl()):
            log.warning("%s: ws:// sends credentials in the clear; use wss://", name)
        self._renewable = renewable
        self._renewed = False
        self._queue_max = queue_max
        self._queue: deque[str] = deque()
        self._inbox: Inbox[E | Connected | Lost | Gap | Failure] = Inbox(inbox_max)
        self._line = asyncio.Lock()  # whoever says something; first come, first served
        self._visit = 0  # the number of the connection
        self._ready = False
        self._over: Exception | None = RuntimeError(f"{name}: use it in `async with`")
        self._task: asyncio.Task[None] | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._connection = Connection(
            self,
            door=self._door,
            ping=_written(ping),
            final=self._is_final,
            timing=timing,
            chance=chance,
            options=options,
            delay=delay,
            ping_frames=ping_frames,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name}>"

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise RuntimeError(f"{self._name}: it can be used once")
        self._over = None
        self._task = asyncio.create_task(self._run(), name=self._name)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E | Connected | Lost | Gap | Failure:
        """What was heard next. Raises Revoked."""
        return await self._inbox.get()

    @property
    def ready(self) -> bool:
        return self._ready

    @property
    def queued(self) -> int:
        """How many messages wait for a connection."""
        return len(self._queue)

    async def ping(self) -> float | None:
        """The round-trip time in seconds; None: there is no connection, or it was lost meanwhile.

        The server has then dealt with all that was said before. The answer stands behind what is
        unread: whoever reads cannot wait for it with a full inbox.
        """
        began = time.monotonic()
        return time.monotonic() - began if await self._connection.ping() else None

    async def close(self) -> None:
        """Close with 1000; what still waits is not sent. What was heard can still be read."""
        self._over = self._over or RuntimeError(f"{self._name} is closed")
        self._inbox.end()
        await self._connection.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # --- what a subclass says ---

    @abstractmethod
    async def _door(self) -> Door: ...

    @abstractmethod
    async def _greet(self) -> None:
        """What is said first on each connection."""

    @abstractmethod
    async def _hear(self, frame: Mapping[str, Any]) -> None: ...

    async def _greeted(self) -> None:
        """All that was asked first is answered."""

    def _last_word(self, loss: Loss) -> Exception:
        """What a loss after which no attempt follows is raised as."""
        return Revoked(f"{self._name}: {loss}")

    def _ended(self) -> None:
        """Nothing more will come."""

    # --- and what it uses ---

    async def _say(self, frame: Mapping[str, Any]) -> None:
        """Now, or when ready. Raises QueueFull, Revoked, RuntimeError."""
        text = _written(frame)
        async with self._line:
            if self._over is not None:
                raise self._over
            if self._ready and await self._connection.send(text):
                return
        if len(self._queue) >= self._queue_max:
            raise QueueFull(f"{self._name}: {self._queue_max} messages wait already")
        self._queue.append(text)

    async def _tell(self, frame: Mapping[str, Any]) -> None:
        """Now or never."""
        await self._connection.send(_written(frame))

    async def _pong(self) -> None:
        self._connection.pong()
        if self._ready:
            self._renewed = False
        elif self._flushing is None:
            await self._greeted()
            self._inbox.note(Connected())
            self._flushing = asyncio.create_task(self._flush(self._visit))

    def _fail(self, failure: Failure) -> None:
        self._inbox.note(failure)

    async def _gap(self, reason: str, channel: str = "") -> None:
        if reason:
            await self._inbox.put(Gap(reason, channel))

    # --- what the connection tells ---

    async def opened(self) -> None:
        log.info("%s: connected", self._name)
        self._visit += 1
        await self._greet()

    async def received(self, text: str) -> None:
        try:
            frame = json.loads(text)
        except (ValueError, RecursionError):
            frame = None
        if isinstance(frame, dict):
            await self._hear(frame)
        else:
            log.warning("%s: an unknown frame was ignored", self._name)

    def lost(self, loss: Loss, delay_s: float | None) -> None:
        self._ready = False
        self._flushing = None
        self._renewed = self._renewed or loss.code == REVOKED
        what = f"disconnected ({loss})" if loss.opened else f"not connected ({loss})"
        then = "not trying again" if delay_s is None else f"next attempt in {delay_s:.1f} s"
        why = REFUSED.get(loss.status, "")
        level = logging.WARNING if why or loss.code == REVOKED else logging.INFO
        log.log(level, "%s: %s", self._name, "; ".join(filter(None, (what, why, then))))
        self._inbox.note(Lost(loss, delay_s))

    # --- inside ---

    def _is_final(self, loss: Loss) -> bool:
        return loss.code == REVOKED and (self._renewed or not self._renewable)

    async def _run(self) -> None:
        error: Exception | None = None
        try:
            await self._connection.run()
        except Stopped as stopped:
            error = self._last_word(stopped.loss)
        except Exception as failed:
            error = failed
        finally:
            self._over = self._over or error
            self._inbox.end(error)
            self._ended()

    async def _flush(self, visit: int) -> None:
        """What has waited, in order; who speaks meanwhile comes after it."""
        async with self._line:
            while self._queue and visit == self._visit:
                if not await self._connection.send(self._queue[0]):
                    return
                self._queue.popleft()
            self._ready = visit == self._visit and self._connection.open


def _written(frame: Mapping[str, Any]) -> str:
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":"))
