"""Which URL speaks which protocol. Source: PROTOCOLS.md 0.1.

A protocol is one row: its class, its largest frame, its paths. The protocols that are not built yet
have no row: 404.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from channels.routing import URLRouter
from django.urls import re_path

from realtime.consumers import GatewayConsumer, refuse_upgrade
from realtime.core.errors import NotFound
from realtime.protocols.goclaw import GoclawProtocol

goclaw = GatewayConsumer.as_asgi(protocol=GoclawProtocol, max_frame_bytes=512 * 1024)

websocket_urlpatterns = [
    re_path(r"^(?:ws|goclaw/ws)/?$", goclaw),
]

_router = URLRouter(websocket_urlpatterns)


async def websocket(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The WebSocket side of the application; an unknown path is a 404, never an exception."""
    path = scope["path"].removeprefix("/")
    known = any(pattern.pattern.match(path) for pattern in websocket_urlpatterns)
    if known and not _wants_topics(path, scope["query_string"]):
        await _router(scope, receive, send)
    else:
        await _not_found(scope, receive, send)


def _wants_topics(path: str, query: bytes) -> bool:
    """`/ws` with a query key `token`, even an empty one, is 004's, which must speak first: it is
    never 001's.
    """
    return path.rstrip("/") == "ws" and "token" in parse_qs(query.decode("latin-1"), True)


async def _not_found(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    error = NotFound(f"nothing answers at {scope['path'][:200]}")
    await refuse_upgrade(scope, send, 404, error)
