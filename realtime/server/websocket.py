"""GatewayWebSocketProtocol: uvicorn's WebSocket protocol with our limits, life and ends.

Source: PROTOCOLS.md 0.2 (codes), 0.3 (defects of the pinned versions), 2.10 (limits).
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import time
from http import HTTPStatus
from typing import Any

import structlog
from uvicorn.protocols.utils import ClientDisconnected
from websockets.frames import Frame
from websockets.http11 import Request

from realtime.server.ending import EndingProtocol
from realtime.server.frames import text_frame

logger = structlog.get_logger("gateway")


class GatewayWriter:
    """scope["extensions"]["gateway.writer"]: straight to the socket's buffer, past the send queue.

    Valid after accept; after a close every method does nothing.
    """

    __slots__ = ("_socket",)

    def __init__(self, socket: GatewayWebSocketProtocol) -> None:
        self._socket = socket

    def write_text(self, text: str) -> None:
        self._socket.write_text(text)

    def buffered(self) -> int:
        """Bytes that the peer has not taken yet."""
        return self._socket.transport.get_write_buffer_size()

    def lived_at(self) -> float:
        """When any frame came last, a ping or a pong too; in seconds since the epoch."""
        return self._socket.lived_at

    def close(self, code: int, reason: str) -> None:
        if self._socket.is_open:
            self._socket.say_goodbye(code, reason)


class GatewayWebSocketProtocol(EndingProtocol):
    """One WebSocket, from the handshake that the HTTP protocol hands over. Seconds and bytes."""

    __slots__ = ("_held", "_holding", "_utf8", "lived_at")

    held_bytes = 64 * 1024  # what may wait for the application's accept
    max_fragments = 16 * 1024  # of one message: empty ones cost memory and count for nothing

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._held: bytearray | None = None
        self._holding = False
        self._utf8: codecs.IncrementalDecoder | None = None  # while a text comes in fragments
        self.lived_at = 0.0

    # --- from the socket ---

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self.handshake_initiated and not self.handshake_complete:
            self._hold(data)
            return
        self.conn.receive_data(data)
        if self.conn.events:
            self._peer_lives()
        self.handle_events()
        if self.conn.parser_exc is not None:
            self.handle_parser_exception()
        elif self.conn.handshake_exc is not None and not self.handshake_initiated:
            self._refuse(400, "malformed request; it takes HTTP/1.1 as in RFC 9112")

    def _hold(self, data: bytes) -> None:
        """Frames before the accept are judged by the size that the accept will name."""
        if self._held is None:
            self._held = bytearray()
        self._held += data
        if len(self._held) > self.held_bytes and not self._holding:
            self._holding = True
            self.transport.pause_reading()

    def _release(self) -> None:
        held, self._held = self._held, None
        if self._holding:
            self._holding = False
            self.transport.resume_reading()
        if held and not self.transport.is_closing():
            self.data_received(bytes(held))

    # --- the handshake ---

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            self._log_refusal(event.path, self.response.status_code)
            self._leave()
            return
        self._path = self.scope["path"]
        extensions: dict[str, Any] = self.scope["extensions"]
        extensions["gateway.writer"] = GatewayWriter(self)

    def _forget_handshake(self) -> None:
        """What was asked and answered is not kept as long as the socket is open."""
        del self.request, self.response, self.scope
        self.server = None
        self.conn.forget_handshake()

    # --- frames ---

    def handle_text(self, event: Frame) -> None:
        self._utf8 = None if event.fin else codecs.getincrementaldecoder("utf-8")()
        if self._is_utf8(event):
            super().handle_text(event)

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= self.max_fragments:
            self._fail(1009, f"message in more than {self.max_fragments} fragments")
        elif self._is_utf8(event):
            super().handle_cont(event)

    def _is_utf8(self, event: Frame) -> bool:
        """Judge a fragment when it comes, not when the message ends."""
        if self._utf8 is None:
            return True
        try:
            self._utf8.decode(event.data, event.fin)
        except UnicodeDecodeError:
            self._fail(1007, "")
            return False
        return True

    def send_receive_event_to_app(self) -> None:
        frames, self.frames = self.frames, []
        self._utf8 = None
        if self.close_sent or self._over:
            return
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        if self.curr_msg_data_type == "text":
            try:
                text = data.decode()
            except UnicodeDecodeError:
                self._fail(1007, "")
                return
            self.queue.put_nowait({"type": "websocket.receive", "text": text})
        else:
            self.queue.put_nowait({"type": "websocket.receive", "bytes": bytes(data)})
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def handle_ping(self) -> None:
        if self.writable.is_set():
            self._flush()
        else:
            # A peer that pings and does not read gets no pongs: they would pile up here.
            self.conn.data_to_send()

    def handle_close(self, event: Frame) -> None:
        received = self.conn.close_rcvd
        assert received is not None
        self._tell(received.code, received.reason)
        self._over = self._over or not self.close_sent
        self._deaf = True
        self._leave()

    # --- being alive ---

    def _peer_lives(self) -> None:
        """Any frame is as good as a pong."""
        self.lived_at = time.time()
        if self.pong_timer is not None:
            self.pong_timer.cancel()
            self.pong_timer = None
            self.pending_ping_payload = None
            self.schedule_ping()

    def keepalive_timeout(self) -> None:
        assert self.ping_timeout is not None
        if self.read_paused:
            # We are not listening: the application is busy with an earlier message.
            self.pong_timer = self.loop.call_later(self.ping_timeout, self.keepalive_timeout)
            return
        self.pong_timer = None
        self._fail(1011, "keepalive ping timeout")

    # --- from the application ---

    def write_text(self, text: str) -> None:
        if not self.is_open:
            return
        payload = text.encode()
        if self.conn.extensions:
            self.conn.send_text(payload)
            self._flush()
        else:
            self.transport.write(text_frame(payload))

    async def send(self, message: Any) -> None:
        if self._over:
            raise ClientDisconnected
        kind = message["type"]
        if kind == "websocket.close" and self.is_open:
            # Without waiting for a peer that does not read: the deadline must begin.
            self.say_goodbye(message.get("code", 1000), message.get("reason") or "")
            return
        if not self.writable.is_set():
            await self.writable.wait()
            if self._over or self.close_sent:
                raise ClientDisconnected  # it ended while this message waited
        deciding = not self.handshake_complete and self.initial_response is None
        if deciding and kind == "websocket.accept":
            self.conn.max_message_size = message.get("max_size", self.config.ws_max_size)
        await super().send(message)
        if deciding:
            self._decided(kind, message)
        if self.transport.is_closing():
            self._leave()

    def _decided(self, kind: str, message: Any) -> None:
        if kind == "websocket.accept":
            if self.handshake_complete:
                self._forget_handshake()
            self._release()
        else:
            self._told = True  # by upstream
            self._log_refusal(self._path, message.get("status", HTTPStatus.FORBIDDEN))

    async def run_asgi(self) -> None:
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except asyncio.CancelledError:
            self.shutdown()
            raise
        except Exception:
            logger.exception("application failed", path=self._path, client=self._client)
        self._application_ended()

    def _application_ended(self) -> None:
        if self._over or self.close_sent:
            return
        if self.is_open:
            self.say_goodbye(1011, "")
            self._over = True
        elif self.initial_response is not None:
            self._leave()  # half a refusal
        else:
            self._refuse(500, "internal error")

    async def receive(self) -> Any:
        while self.queue.empty():
            await self.queue.filled()
        message = self.queue.get_nowait()
        if self.queue.empty():
            with contextlib.suppress(RuntimeError):  # the transport is closing
                self._listen_again()
        return message
