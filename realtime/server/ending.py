"""EndingProtocol: how a WebSocket ends, and what the peer and the application are told of it.

Source: PROTOCOLS.md 0.2 (codes), 0.3 (defects of the pinned versions).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import structlog
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import OPEN

from realtime.server.frames import Conversation, fitting
from realtime.server.mailbox import Mailbox

logger = structlog.get_logger("gateway")

# Upstream tells of every connection with its query string, and those carry tokens. This logger is
# not registered: a later logging configuration would give it back its voice.
quiet = logging.Logger("gateway.uvicorn", logging.ERROR)
quiet.parent = logging.getLogger("gateway")


WRITABLE = asyncio.Event()  # of all sockets that may be written to; it is never cleared
WRITABLE.set()


class EndingProtocol(WebSocketsSansIOProtocol):
    """The ends of a WebSocket: refused, closed by us, cut off, lost. Seconds."""

    # Upstream's attributes and ours: a dictionary of so many would be four times their size.
    __slots__ = (
        "_deaf",
        "_over",
        "_path",
        "_told",
        "app",
        "app_state",
        "asgi_version",
        "client",
        "close_sent",
        "close_timeout",
        "close_timer",
        "config",
        "conn",
        "connections",
        "curr_msg_data_type",
        "default_headers",
        "disconnected",
        "frames",
        "handshake_complete",
        "handshake_initiated",
        "initial_response",
        "last_ping_rtt",
        "logger",
        "loop",
        "pending_ping_payload",
        "ping_interval",
        "ping_sent_at",
        "ping_timeout",
        "ping_timer",
        "pong_timer",
        "queue",
        "read_paused",
        "request",
        "response",
        "root_path",
        "scheme",
        "scope",
        "server",
        "tasks",
        "transport",
        "writable",
    )

    conn: Conversation
    queue: Mailbox  # type: ignore[assignment]
    farewell_s = 5.0  # for the peer to answer our close, and to read what was written before it
    restart_farewell_s = 1.0  # the same when the process is leaving
    linger_s = 2.0  # for the peer to read why it was cut off

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = quiet
        self.close_timeout = self.farewell_s
        self.queue = Mailbox()
        self.writable = WRITABLE
        self.conn.parser.close()  # it holds its owner, which would wait for the garbage collector
        self.conn = Conversation(
            extensions=self.conn.available_extensions,
            max_size=self.config.ws_max_size,
            logger=quiet,
        )
        self._path = ""  # that was asked for
        self._over = False  # ended by the peer or by the server, not by the application
        self._told = False  # the application's disconnect message is queued
        self._deaf = False  # what still comes is dropped

    @property
    def is_open(self) -> bool:
        return self.conn.state is OPEN and not self.transport.is_closing()

    @property
    def _client(self) -> str:
        return f"{self.client[0]}:{self.client[1]}" if self.client else ""

    def pause_writing(self) -> None:
        self.writable = asyncio.Event()

    def resume_writing(self) -> None:
        self.writable.set()
        self.writable = WRITABLE

    # --- its ways ---

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

    def _refuse(self, status: int, message: str) -> None:
        """Answer the handshake ourselves."""
        self.handshake_complete = self._over = True
        self.conn.send_response(self.conn.reject(status, message))
        self._tell(1006, "")
        self._log_refusal(self._path, status)
        self._leave()

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

    def connection_lost(self, exc: Exception | None) -> None:
        self._tell(1006, "")
        self._over = True
        super().connection_lost(exc)

    # --- who is told ---

    def _tell(self, code: int, reason: str) -> None:
        if not self._told:
            self._told = True
            self.queue.put_nowait(
                {"type": "websocket.disconnect", "code": int(code), "reason": reason}
            )

    def _log_refusal(self, path: str, status: int) -> None:
        path = path.partition("?")[0]
        logger.warning("websocket upgrade failed", path=path, status=status, client=self._client)

    # --- the socket ---

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
