"""GatewayHttpProtocol: uvicorn's HTTP protocol with limits and a deadline for the request head.

Source: PROTOCOLS.md 0.3 (the defects of the pinned versions).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from enum import Enum, auto
from typing import Any

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from realtime.server import error_body
from realtime.server.head import HeadMeter, Refusal, judge_field, judge_head, malformed

logger = structlog.get_logger("gateway")


class Phase(Enum):
    """Where in a request the next byte belongs."""

    BETWEEN = auto()
    HEAD = auto()
    BODY = auto()


class GatewayHttpProtocol(HttpToolsProtocol):
    """One TCP connection, until it is closed or a WebSocket takes it over. Seconds and bytes."""

    head_deadline_s = 5.0
    linger_s = 1.0  # for the peer to read a refusal before its unread bytes reset the connection

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False  # its lines carry query strings, and those carry tokens
        self._phase = Phase.BETWEEN
        self._refusal: Refusal | None = None
        self._upgrade_ignored = False
        self._last_request = False
        self._spoken = False
        self._current: RequestResponseCycle | None = None  # the one that is being answered
        self._timer: asyncio.TimerHandle | None = None
        self._heads = 0  # heads read in the current segment
        self._meter = HeadMeter()

    # --- the connection ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        self._tell_current()  # upstream tells the newest request only
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self._spoken = True
        began_in, self._heads = self._phase, 0
        if began_in is not Phase.BODY:
            self._start_deadline()
        self._meter.extra(len(data))
        self._feed(data)
        if self._refusal is None:
            self._check_unfinished(data, began_in)

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as pause:
            self._leave_http(data[pause.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(malformed(error))

    def _check_unfinished(self, data: bytes, began_in: Phase) -> None:
        """What the parser has not reported yet, because it waits for the end of it."""
        try:
            if self._phase is Phase.BODY:
                self._meter.judge_extra()
            elif self._phase is Phase.HEAD:
                if began_in is Phase.BODY or self._heads:
                    self._meter.forget_raw()
                    self._start_deadline()
                else:
                    self._meter.unfinished(data)
        except Refusal as refusal:
            self._refuse(refusal)

    # --- the parser's callbacks ---

    def on_message_begin(self) -> None:
        super().on_message_begin()
        extensions: dict[str, Any] = {"gateway.disconnect": self.disconnect}
        self.scope["extensions"] = extensions
        self._phase = Phase.HEAD
        self._meter.begin()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        with self._judging():
            self._meter.request_line(self.parser.get_method(), self.url)

    def on_header(self, name: bytes, value: bytes) -> None:
        with self._judging():
            self._meter.field(name, value)
        if self._phase is Phase.BODY:
            return  # a trailer: the application has judged the headers already
        if b"_" in name:
            return  # it would be read as the same header with a hyphen
        with self._judging():
            judge_field(name, value, self.headers)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        asked = self.parser.should_upgrade()
        upgrades = asked and self._should_upgrade()
        version, method = self.parser.get_http_version(), self.parser.get_method()
        with self._judging():
            judge_head(version, method, self.headers, upgrades=upgrades)
        self._heads += 1
        self._meter.forget_raw()
        self._upgrade_ignored = asked and not upgrades
        if self._upgrade_ignored:
            return  # the request is read again without its Upgrade header
        super().on_headers_complete()
        self._stop_deadline()
        self._phase = Phase.BODY
        self._meter.body()
        if self._last_request and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._meter.body()
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._upgrade_ignored:
            return
        self._phase = Phase.BETWEEN
        super().on_message_complete()

    @contextlib.contextmanager
    def _judging(self) -> Iterator[None]:
        """The parser stops at an exception, and reports some failure of a callback, not which."""
        try:
            yield
        except Refusal as refusal:
            self._refuse(refusal)
            raise

    # --- upgrades ---

    def _get_upgrade(self) -> bytes | None:
        tokens = b",".join(value for name, value in self.headers if name == b"connection")
        if b"upgrade" not in [token.strip() for token in tokens.lower().split(b",")]:
            return None
        wanted = [value.lower() for name, value in self.headers if name == b"upgrade"]
        return wanted[0] if len(wanted) == 1 else None

    def _should_upgrade(self) -> bool:
        return self.parser.get_http_version() == "1.1" and super()._should_upgrade()

    def _leave_http(self, rest: bytes) -> None:
        """The parser stopped behind a head with an Upgrade; `rest` is what followed it."""
        if self._upgrade_ignored:
            # Once more without the Upgrade: the parser takes no body for a request that has one.
            kept = [(name, value) for name, value in self.headers if name != b"upgrade"]
            again = self._head(kept, self.scope["http_version"])
            self.parser = httptools.HttpRequestParser(self)  # the old one may have seen a close
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as upstream
            self._feed(again + rest)
        elif self.is_busy:
            self._refuse(Refusal(400, "an upgrade request behind an unanswered one; it must wait"))
        elif self._last_request:
            self._refuse(Refusal(503, "server restarting; connect again"))
        else:
            self._hand_over(rest)

    def _hand_over(self, rest: bytes) -> None:
        """A WebSocket takes the connection over; bytes that came with the head are its first."""
        self.connections.discard(self)
        assert self.ws_protocol_class is not None
        protocol: Any = self.ws_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.app_state
        )
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        head = self._head(self.headers, "1.1")
        # They hold this protocol, which would wait for the garbage collector.
        self.parser = self.scope = None  # type: ignore[assignment]
        protocol.data_received(head)
        if rest and not self.transport.is_closing():
            protocol.data_received(rest)

    def _head(self, headers: list[tuple[bytes, bytes]], version: str) -> bytes:
        method = self.parser.get_method()
        lines = [b"%b %b HTTP/%b" % (method, self.url, version.encode())]
        lines += [b"%b: %b" % header for header in headers]
        return b"\r\n".join([*lines, b"", b""])

    # --- refusals ---

    def _refuse(self, refusal: Refusal) -> None:
        """Answer now, or behind the responses that earlier requests still wait for."""
        if self._refusal is not None:
            return
        self._refusal = refusal
        self._stop_deadline()
        if self._phase is Phase.BODY and not self._drop_current():
            return
        if not self.is_busy:
            self._answer()

    def _drop_current(self) -> bool:
        """Give up the request whose body is bad; whether there is still something to answer."""
        cycle = self.cycle
        if self.pipeline:  # the newest request is the bad one, an older one is being answered
            self.pipeline.popleft()
        elif cycle.response_complete:
            self.transport.close()
            return False
        elif cycle.response_started:
            self.disconnect()
            return False
        cycle.disconnected = cycle.response_complete = True
        cycle.message_event.set()
        return True

    def _answer(self) -> None:
        refusal = self._refusal
        assert refusal is not None
        client = f"{self.client[0]}:{self.client[1]}" if self.client else ""
        logger.info("request refused", status=refusal.status, reason=str(refusal), client=client)
        body = error_body(refusal.status, str(refusal))
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        lines = [b"%b: %b\r\n" % header for header in headers]
        self.transport.write(b"".join([STATUS_LINE[refusal.status], *lines, b"\r\n", body]))
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._timer = self.loop.call_later(self.linger_s, self.transport.abort)
        else:
            self.transport.close()

    def disconnect(self) -> None:
        """End the connection at once, without a word: half a response was sent."""
        self._tell_current()
        self.transport.abort()

    def _tell_current(self) -> None:
        if self._current is not None:
            self._current.disconnected = True
            self._current.message_event.set()

    # --- deadlines and the end ---

    @property
    def is_busy(self) -> bool:
        """Whether a response is being made."""
        return self._current is not None and not self._current.response_complete

    def _start_deadline(self) -> None:
        if self._timer is None and not self.is_busy:
            self._timer = self.loop.call_later(self.head_deadline_s, self._head_is_late)

    def _stop_deadline(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_is_late(self) -> None:
        if self._spoken:
            late = f"the request head was not complete after {self.head_deadline_s:g} seconds"
            self._refuse(Refusal(408, late))
        else:
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        async def run(scope: Any, receive: Any, send: Any) -> None:
            try:
                await app(scope, receive, send)
            except asyncio.CancelledError:  # the server leaves: no failure of the application
                self.disconnect()

        self._current = cycle
        super()._start_asgi_task(cycle, run)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing() or self.is_busy:
            return
        if self._refusal is not None:
            self._unset_keepalive_if_required()
            self._answer()
        elif self._phase is Phase.HEAD:
            self._unset_keepalive_if_required()
            self._start_deadline()

    def leave_soon(self) -> None:
        """The server drains: the request in flight, or the next one, is the last."""
        self._last_request = True
        if self.cycle is not None:
            self.cycle.keep_alive = False
