"""GatewayWebSocketProtocol: uvicorn's WebSocket protocol with our limits, codes, reasons and ends.

Source: PROTOCOLS.md 0.2 (codes), 0.3 (defects of the pinned versions), 2.10 (limits).
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import logging
from http import HTTPStatus
from typing import Any

import structlog
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.datastructures import Headers
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request, Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from realtime.server import error_body

logger = structlog.get_logger("gateway")

# Upstream tells of every connection with its query string, and those carry tokens. This logger is
# not registered: a later logging configuration would give it back its voice.
quiet = logging.Logger("gateway.uvicorn", logging.ERROR)
quiet.parent = logging.getLogger("gateway")

REASON_BYTES = 123  # what a close frame has room for
REASONS = {
    1000: "closed by the server",
    1001: "going away",
    1002: "protocol error",
    1007: "invalid UTF-8",
    1008: "policy violation",
    1011: "internal error",
    1012: "server restarting",
    1013: "try again later",
}


class Conversation(ServerProtocol):
    """The sans-IO side: every close has a reason, every refused handshake a JSON body."""

    def fail(self, code: CloseCode | int, reason: str = "") -> None:
        if code == CloseCode.MESSAGE_TOO_BIG:
            reason = f"frame larger than {self.max_message_size} bytes"
        self.end(code, reason)

    def end(self, code: CloseCode | int, reason: str) -> None:
        super().fail(code, fitting(code, reason))

    def reject(self, status: HTTPStatus | int, text: str) -> Response:
        status = HTTPStatus(status)
        summary = text.strip().partition("\n")[0] or status.phrase
        body = error_body(status, summary)
        headers = Headers(
            [
                ("Connection", "close"),
                ("Content-Length", str(len(body))),
                ("Content-Type", "application/json"),
                ("Sec-WebSocket-Version", "13"),
            ]
        )
        return Response(status.value, status.phrase, headers, body)


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

    def close(self, code: int, reason: str) -> None:
        if self._socket.is_open:
            self._socket.say_goodbye(code, reason)


class GatewayWebSocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket, from the handshake that the HTTP protocol hands over. Seconds and bytes."""

    conn: Conversation
    farewell_s = 5.0  # for the peer to answer our close, and to read what was written before it
    restart_farewell_s = 1.0  # the same when the process is leaving
    linger_s = 2.0  # for the peer to read why it was cut off
    held_bytes = 64 * 1024  # what may wait for the application's accept
    max_fragments = 16 * 1024  # of one message: empty ones cost memory and count for nothing

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = quiet
        self.close_timeout = self.farewell_s
        self.conn = Conversation(
            extensions=self.conn.available_extensions,
            max_size=self.config.ws_max_size,
            logger=quiet,
        )
        self._held = bytearray()
        self._holding = False
        self._over = False  # ended by the peer or by the server, not by the application
        self._told = False  # the application's disconnect message is queued
        self._deaf = False  # what still comes is dropped
        self._utf8 = codecs.getincrementaldecoder("utf-8")()

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

    def connection_lost(self, exc: Exception | None) -> None:
        self._tell(1006, "")
        self._over = True
        super().connection_lost(exc)

    def _hold(self, data: bytes) -> None:
        """Frames before the accept are judged by the size that the accept will name."""
        self._held += data
        if len(self._held) > self.held_bytes and not self._holding:
            self._holding = True
            self.transport.pause_reading()

    def _release(self) -> None:
        held, self._held = bytes(self._held), bytearray()
        if self._holding:
            self._holding = False
            self.transport.resume_reading()
        if held and not self.transport.is_closing():
            self.data_received(held)

    # --- the handshake ---

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            self._log_refusal(event.path, self.response.status_code)
            self._leave()
            return
        extensions: dict[str, Any] = self.scope["extensions"]
        extensions["gateway.writer"] = GatewayWriter(self)

    def _refuse(self, status: int, message: str) -> None:
        """Answer the handshake ourselves."""
        path = self.scope["path"] if self.handshake_initiated else ""
        self.handshake_complete = self._over = True
        self.conn.send_response(self.conn.reject(status, message))
        self._tell(1006, "")
        self._log_refusal(path, status)
        self._leave()

    def _log_refusal(self, path: str, status: int) -> None:
        path = path.partition("?")[0]
        logger.warning("websocket upgrade failed", path=path, status=status, client=self._client)

    @property
    def _client(self) -> str:
        return f"{self.client[0]}:{self.client[1]}" if self.client else ""

    # --- frames ---

    def handle_text(self, event: Frame) -> None:
        self._utf8.reset()
        if event.fin or self._is_utf8(event):
            super().handle_text(event)

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= self.max_fragments:
            self._fail(1009, f"message in more than {self.max_fragments} fragments")
        elif self.curr_msg_data_type == "bytes" or self._is_utf8(event):
            super().handle_cont(event)

    def _is_utf8(self, event: Frame) -> bool:
        """Judge a fragment when it comes, not when the message ends."""
        try:
            self._utf8.decode(event.data, event.fin)
        except UnicodeDecodeError:
            self._fail(1007, "")
            return False
        return True

    def send_receive_event_to_app(self) -> None:
        frames, self.frames = self.frames, []
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

    def handle_parser_exception(self) -> None:
        if self.close_sent or self._over:  # it was told already
            self._leave()
            return
        closing = self.conn.close_sent
        assert closing is not None
        logger.warning(
            "websocket read error",
            client=self._client,
            code=int(closing.code),
            reason=closing.reason,
        )
        self._tell(closing.code, closing.reason)
        self._cut_off()

    def _fail(self, code: int, reason: str) -> None:
        if not self._over and not self.close_sent:
            self.conn.end(code, reason)
            self.handle_parser_exception()

    # --- being alive ---

    def _peer_lives(self) -> None:
        """Any frame is as good as a pong."""
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

    @property
    def is_open(self) -> bool:
        return self.conn.state is OPEN and not self.transport.is_closing()

    def write_text(self, text: str) -> None:
        if not self.is_open:
            return
        payload = text.encode()
        if self.conn.extensions:
            self.conn.send_text(payload)
            self._flush()
        else:
            self.transport.write(text_frame(payload))

    def say_goodbye(self, code: int, reason: str, within_s: float | None = None) -> None:
        """Send our close and wait for the peer's; then, or when the time is up, it is over.

        Raises ProtocolError for a code that may not be sent.
        """
        self.conn.send_close(code, fitting(code, reason))
        self._tell(code, reason)
        self.close_sent = True
        self.stop_keepalive()
        self._flush()
        self._listen_again()
        self._abort_in(self.close_timeout if within_s is None else within_s)

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
            self._release()
        else:
            self._told = True  # by upstream
            self._log_refusal(self.scope["path"], message.get("status", HTTPStatus.FORBIDDEN))

    async def run_asgi(self) -> None:
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except asyncio.CancelledError:
            self.shutdown()
            raise
        except Exception:
            logger.exception("application failed", path=self.scope["path"], client=self._client)
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

    # --- the end ---

    def shutdown(self) -> None:
        """The server's last word to whoever is left."""
        self.stop_keepalive()
        if self.is_open:
            self.say_goodbye(1012, "", self.restart_farewell_s)
            self._over = True
        elif self.handshake_initiated and not self.handshake_complete and not self.close_sent:
            self._refuse(503, "server restarting; connect again")
        else:
            self._leave()

    def _tell(self, code: int, reason: str) -> None:
        if not self._told:
            self._told = True
            self.queue.put_nowait(
                {"type": "websocket.disconnect", "code": int(code), "reason": reason}
            )

    def _flush(self) -> None:
        output = b"".join(self.conn.data_to_send())
        if output and not self.transport.is_closing():
            self.transport.write(output)

    def _listen_again(self) -> None:
        if self.read_paused and not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()

    def _cut_off(self) -> None:
        """Half-close and drop what still comes: closing on unread bytes would reset the connection,
        and the peer would lose the reason.
        """
        self._over = self._deaf = True
        self.frames = []
        self.stop_keepalive()
        self._flush()
        if self.transport.is_closing() or not self.transport.can_write_eof():
            self._leave()
            return
        self.transport.write_eof()
        self._listen_again()
        self._abort_in(self.linger_s)

    def _leave(self) -> None:
        """Close after what is written; a peer that does not read it has `farewell_s`."""
        self.stop_keepalive()
        self._flush()
        if self.close_timer is None and not self.disconnected:
            self._abort_in(self.close_timeout)
        self.transport.close()

    def _abort_in(self, seconds: float) -> None:
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(seconds, self.transport.abort)

    async def receive(self) -> Any:
        message = await self.queue.get()
        if self.queue.empty():
            with contextlib.suppress(RuntimeError):  # the transport is closing
                self._listen_again()
        return message


def text_frame(payload: bytes) -> bytes:
    """One unmasked, unfragmented text frame (RFC 6455, 5.2)."""
    length = len(payload)
    if length < 126:
        return bytes((0x81, length)) + payload
    if length < 65536:
        return b"\x81\x7e" + length.to_bytes(2, "big") + payload
    return b"\x81\x7f" + length.to_bytes(8, "big") + payload


def fitting(code: int, reason: str) -> str:
    """The reason, or one for its code, cut at a character to what a close frame has room for."""
    reason = reason or REASONS.get(code, "closed by the server")
    return reason.encode(errors="replace")[:REASON_BYTES].decode(errors="ignore")
