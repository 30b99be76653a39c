"""GatewayConsumer: Channels' callbacks, handed on to a Connection. No decision is made here."""

from __future__ import annotations

import contextlib
import functools
import math
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from channels.consumer import AsyncConsumer, get_handler_name
from channels.exceptions import StopConsumer
from django.conf import settings

from realtime import node
from realtime.bus.outbound import Outbound, Send, writer_of
from realtime.connection import Connection
from realtime.core.errors import GatewayError
from realtime.core.handshake import Handshake
from realtime.core.limits import Buckets, Limits
from realtime.core.protocol import Protocol
from realtime.neighbours import Door, PeerGone

_shared_limits = functools.lru_cache(maxsize=64)(Limits)  # equal ones are one
_buckets = Buckets(per_minute=settings.RATE_LIMIT_RPM, burst=settings.RATE_LIMIT_BURST)


class GatewayConsumer(AsyncConsumer):
    """One WebSocket; `protocol` is a Protocol class, its limits are `max_frame_bytes` and the
    settings.
    """

    # Delivery goes through the hub: no channel and no task per peer.
    channel_layer_alias = None  # type: ignore[assignment]

    def __init__(self, *, protocol: type[Protocol], max_frame_bytes: int) -> None:
        self.connection: Any = None
        self.protocol = protocol
        self.max_frame_bytes = max_frame_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        # As upstream, without a second task, and a third that has ended, for every socket.
        self.scope, self.base_send = scope, send
        del scope  # see `accept`
        try:
            while True:
                await self.dispatch(await receive())
        except StopConsumer:
            pass
        finally:
            if self.connection is not None:
                await self._ended(1006)

    async def dispatch(self, message: dict[str, Any]) -> None:
        # As upstream, without closing old database connections before every message: `in_thread`
        # does that.
        await getattr(self, get_handler_name(message))(message)

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        self.node = await node.ensure_started()
        limits = limits_of(self.max_frame_bytes)
        self.outbound = Outbound(
            self.base_send,  # type: ignore[arg-type]
            writer_of(self.scope),
            max_bytes=limits.outbound_max_bytes,
            max_frames=limits.outbound_max_frames,
            on_slow=self.slow,
        )
        self.connection = Connection(
            protocol=self.protocol(connection=secrets.token_hex(16), limits=limits),
            peer=self,
            hub=self.node.hub,
            services=self.node.services,
            door=Door(settings.ALLOWED_HOSTS, settings.ALLOWED_ORIGINS),
            buckets=_buckets,
        )
        self.node.connections[self.connection.id] = self.connection
        await self.connection.open(Handshake.from_scope(self.scope))

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        text = message.get("text")
        await self.connection.receive(text if text is not None else message["bytes"])

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        await self._ended(message.get("code") or 1005)
        raise StopConsumer

    async def _ended(self, code: int) -> None:
        """Once, however the socket ended: by its disconnect, or by a failure on the way."""
        connection, self.connection = self.connection, None
        self.node.connections.pop(connection.id, None)
        await connection.closed(code)

    def slow(self) -> None:
        if self.connection is not None:
            self.connection.slow()

    # --- what a Connection asks of its peer ---

    async def accept(self, max_frame_bytes: int) -> None:
        # `max_size` is read by our own server only.
        with _peer_may_go():
            await self.send({"type": "websocket.accept", "max_size": max_frame_bytes})
        del self.scope  # the request has been judged: nothing of it is kept with the socket

    async def refuse(self, status: int, error: GatewayError) -> None:
        with _peer_may_go():
            await refuse_upgrade(self.scope, self.send, status, error)


@contextlib.contextmanager
def _peer_may_go() -> Iterator[None]:
    """Servers tell of a peer that went away by an OSError of theirs."""
    try:
        yield
    except OSError:
        raise PeerGone from None


async def refuse_upgrade(
    scope: Mapping[str, Any], send: Send, status: int, error: GatewayError
) -> None:
    """Refuse with an HTTP status; a server without that extension can only say 403."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    body = {"error": {"code": error.code, "message": str(error)}}
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    if error.retry_after_ms is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(error.retry_after_ms / 1000)))
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": msgspec.json.encode(body)})


def limits_of(max_frame_bytes: int) -> Limits:
    return _shared_limits(
        max_frame_bytes=max_frame_bytes,
        messages_per_s=settings.AETHER_MESSAGES_PER_S,
        tell_rate_limit=settings.RATE_LIMIT_REPLY == "error",
        greeting_s=settings.CONNECT_TIMEOUT_S,
        outbound_max_bytes=settings.OUTBOUND_MAX_BYTES,
    )
