"""BodyCap: no application sees more of a request's body than its path allows, nor waits for ever.

Django writes a whole body to disk before any view runs, so the limits stand in front of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from realtime.core.room import is_no_room
from realtime.server import error_body

App = Callable[[Any, Any, Any], Awaitable[None]]

LINGER_BYTES = 1024 * 1024
LINGER_S = 2.0
LINGER_IDLE_S = 0.3
BODILESS = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What the paths that begin with `prefix` allow, and the refusal of a body over `most` bytes.

    With `credentials`, a body whose head shows none of these headers is not even read.
    """

    prefix: str
    most: int
    status: int
    message: str
    credentials: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The slowest that a body may come: `least` bytes in every `window_s` seconds of waiting."""

    least: int = 16 * 1024
    window_s: float = 60.0


class BodyCap:
    """Refuse bodies over the limit of the first matching prefix, else over `default_max_bytes`.

    By Content-Length before anything is read; by counting where a length is missing or lies. A body
    that comes too slowly is answered with 408, one for which the disk has no room with 507.
    """

    def __init__(
        self, app: App, limits: Sequence[Limit], default_max_bytes: int, pace: Pace | None = None
    ) -> None:
        self._app = app
        self._limits = limits
        most = default_max_bytes
        message = f"the request body is larger than {most} bytes"
        self._default = Limit(prefix="", most=most, status=413, message=message)
        self._pace = pace or Pace()

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        judged = scope["type"] == "http"
        return (self._judged if judged else self._app)(scope, receive, send)

    async def _judged(self, scope: Any, receive: Any, send: Any) -> None:
        limit = self._limit_of(scope)
        capped = _Capped(scope, receive, send, limit, self._pace)
        if limit.credentials and not _shown(scope, limit):
            await capped.refuse(401, "credentials are required")
        elif _declared(scope["headers"]) > limit.most:
            await capped.refuse(limit.status, limit.message)
        else:
            await self._guarded(scope, capped)

    def _limit_of(self, scope: Any) -> Limit:
        if scope.get("method") in BODILESS:  # such a request may bring a body all the same
            return self._default
        path = scope["path"]
        return next((one for one in self._limits if path.startswith(one.prefix)), self._default)

    async def _guarded(self, scope: Any, capped: _Capped) -> None:
        try:
            await self._app(scope, capped.receive, capped.send)
        except OSError as error:
            if not is_no_room(error):
                raise
            await capped.refuse(507, "there is no room left for uploads")


class _Capped:
    """The receive and send of one request."""

    def __init__(self, scope: Any, receive: Any, send: Any, limit: Limit, pace: Pace) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._limit, self._left = limit, limit.most
        self._pace, self._came, self._waited_s = pace, 0, 0.0
        self._due = True  # more of the body
        self._started = self._refused = False

    async def receive(self) -> Any:
        if self._refused:
            return {"type": "http.disconnect"}
        try:
            message = await (self._receive_in_time() if self._due else self._receive())
        except TimeoutError:
            least, window_s = self._pace.least, self._pace.window_s
            slow = f"the request body came slower than {least} bytes in {window_s:g} seconds"
            await self.refuse(408, slow)
            return {"type": "http.disconnect"}
        self._due = message.get("more_body", False)
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                await self.refuse(self._limit.status, self._limit.message)
                return {"type": "http.disconnect"}
        return message

    async def _receive_in_time(self) -> Any:
        """Only waiting for the peer counts, not what the application does in between.

        Raises TimeoutError.
        """
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                async with asyncio.timeout(self._pace.window_s - self._waited_s):
                    message = await self._receive()
            except TimeoutError:
                self._end_window()
                continue
            self._waited_s += clock() - began
            self._came += len(message.get("body", b""))
            if self._waited_s >= self._pace.window_s and message.get("more_body", False):
                self._end_window()
            return message

    def _end_window(self) -> None:
        if self._came < self._pace.least:
            raise TimeoutError
        self._came, self._waited_s = 0, 0.0

    async def send(self, message: Any) -> None:
        if self._refused:
            return  # the peer has had its answer
        self._started = True
        await self._send(message)

    async def refuse(self, status: int, message: str) -> None:
        """Answer, or where an answer has begun end the connection."""
        if self._refused:
            return
        self._refused = True
        if self._started:
            disconnect = self._scope.get("extensions", {}).get("gateway.disconnect")
            if disconnect is not None:
                disconnect()
            return
        body = error_body(status, message)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        if self._due:
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


def _shown(scope: Any, limit: Limit) -> bool:
    """Whether the head carries something that may prove who asks; what it proves comes later."""
    names = {name.lower().decode("latin-1") for name, value in scope["headers"] if value}
    return not names.isdisjoint(limit.credentials)
