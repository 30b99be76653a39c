"""BodyCap: no application sees more of a request's body than its path allows.

Django writes a whole body to disk before any view runs, so the limit stands in front of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from realtime.server import error_body

App = Callable[[Any, Any, Any], Awaitable[None]]
Limit = tuple[str, int, int, str]  # path prefix, most bytes, status, message

LINGER_BYTES = 1024 * 1024
LINGER_S = 2.0
LINGER_IDLE_S = 0.3


class BodyCap:
    """Refuse bodies over the limit of the first matching prefix, else over `default_max_bytes`.

    By Content-Length before anything is read; by counting where a length is missing or lies.
    """

    def __init__(self, app: App, limits: Sequence[Limit], default_max_bytes: int) -> None:
        self._app = app
        self._limits = limits
        self._default_max_bytes = default_max_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most, status, message = self._limit_of(scope["path"])
        capped = _Capped(scope, receive, send, most, status, message)
        if _declared(scope["headers"]) > most:
            await capped.refuse(more_comes=True)
        else:
            await self._app(scope, capped.receive, capped.send)

    def _limit_of(self, path: str) -> tuple[int, int, str]:
        for prefix, most, status, message in self._limits:
            if path.startswith(prefix):
                return most, status, message
        most = self._default_max_bytes
        return most, 413, f"the request body is larger than {most} bytes"


class _Capped:
    """The receive and send of one request."""

    def __init__(
        self, scope: Any, receive: Any, send: Any, most: int, status: int, message: str
    ) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._left = most
        self._status, self._message = status, message
        self._started = self._refused = False

    async def receive(self) -> Any:
        if self._refused:
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                await self.refuse(more_comes=message.get("more_body", False))
                return {"type": "http.disconnect"}
        return message

    async def send(self, message: Any) -> None:
        if self._refused:
            return  # the peer has had its answer
        self._started = True
        await self._send(message)

    async def refuse(self, *, more_comes: bool) -> None:
        """Answer, or where an answer has begun end the connection."""
        self._refused = True
        if self._started:
            disconnect = self._scope.get("extensions", {}).get("gateway.disconnect")
            if disconnect is not None:
                disconnect()
            return
        body = error_body(self._status, self._message)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        await self._send(
            {"type": "http.response.start", "status": self._status, "headers": headers}
        )
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        if more_comes:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._read_on(), LINGER_S)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _read_on(self) -> None:
        """Drop some of what still comes: closing on unread bytes would reset the connection, and
        the peer would lose the answer.
        """
        dropped = 0
        while dropped <= LINGER_BYTES:
            message = await asyncio.wait_for(self._receive(), LINGER_IDLE_S)
            if message["type"] != "http.request" or not message.get("more_body", False):
                return
            dropped += len(message.get("body", b""))


def _declared(headers: Any) -> int:
    lengths = [value for name, value in headers if name.lower() == b"content-length"]
    return max((int(value) for value in lengths if value.isdigit()), default=0)
