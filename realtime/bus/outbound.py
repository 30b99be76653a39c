"""Outbound: what waits for one peer, bounded. A slow reader is closed, never buffered for ever."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

Send = Callable[[dict[str, Any]], Awaitable[None]]

ROOM_S, ROOM_TIMES = 0.02, 500  # how often it is looked for room: ten seconds
LAST_WORDS_S = 5.0  # how long a close may wait for a peer that does not read


class Writer(Protocol):
    """Our own server's way past the ASGI send queue (`realtime.server.websocket`)."""

    def write_text(self, text: str) -> None: ...
    def buffered(self) -> int: ...
    def lived_at(self) -> float: ...
    def close(self, code: int, reason: str) -> None: ...


def writer_of(scope: Mapping[str, Any]) -> Writer | None:
    writer: Writer | None = scope.get("extensions", {}).get("gateway.writer")
    return writer


class Outbound:
    """The way from a connection to its socket; every method is synchronous and keeps the order.

    Over the limit `on_slow` is called once. With a `Writer` frames go straight to the socket's
    buffer; on other servers one task at a time drains a queue.
    """

    def __init__(
        self,
        send: Send,
        writer: Writer | None,
        *,
        max_bytes: int,
        max_frames: int,
        on_slow: Callable[[], None],
    ) -> None:
        self._send = send
        self._writer = writer
        self._max_bytes = max_bytes
        self._max_frames = max_frames
        self._on_slow = on_slow
        self._queue: deque[dict[str, Any]] = deque()
        self._queued_bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def text(self, text: str) -> None:
        if self._closed:
            return
        # What waits already is judged: one large answer does not make a slow reader.
        if self.waiting_bytes > self._max_bytes or len(self._queue) >= self._max_frames:
            self._on_slow()
        elif self._writer is not None:
            self._writer.write_text(text)
        else:
            self._queue.append({"type": "websocket.send", "text": text})
            self._queued_bytes += _size(text)
            self._wake()

    def close(self, code: int, reason: str) -> None:
        """Say goodbye after what is queued; nothing follows."""
        if self._closed:
            return
        self._closed = True
        if self._writer is not None:
            self._writer.close(code, reason)
            return
        self._queue.append({"type": "websocket.close", "code": code, "reason": reason})
        self._wake()

    def discard(self) -> None:
        """Forget what waits, for a peer that is gone or does not read."""
        self._queue.clear()
        self._queued_bytes = 0

    @property
    def waiting_bytes(self) -> int:
        return self._writer.buffered() if self._writer is not None else self._queued_bytes

    @property
    def lived_at(self) -> float:
        """When the socket has shown life last, as far as its server tells."""
        return self._writer.lived_at() if self._writer is not None else 0.0

    async def room(self, ended: Callable[[], bool]) -> bool:
        """Wait until half of what may wait is free, for who has much to say; False when it has
        `ended`, or the peer reads nothing for ten seconds.
        """
        for _ in range(ROOM_TIMES):
            if ended():
                return False
            few = len(self._queue) <= self._max_frames // 2
            if self._closed or (few and self.waiting_bytes <= self._max_bytes // 2):
                return True
            await asyncio.sleep(ROOM_S)
        return False

    def gone(self) -> None:
        """The socket has ended: send nothing more."""
        self._closed = True
        self.discard()
        if self._task is not None:
            self._task.cancel()

    def _wake(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        try:
            while self._queue:
                message = self._queue.popleft()
                self._queued_bytes -= _size(message.get("text", ""))
                limit_s = None if message["type"] == "websocket.send" else LAST_WORDS_S
                await asyncio.wait_for(self._send(message), limit_s)
        except (TimeoutError, OSError, RuntimeError):
            self.discard()  # the peer is gone; its disconnect is on the way
        finally:
            self._task = None


def _size(text: str) -> int:
    """In bytes on the wire."""
    return len(text) if text.isascii() else len(text.encode())
