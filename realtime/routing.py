"""Which URL speaks which protocol: one table. Source: PROTOCOLS.md 0.1.

URLS is the map, PROTOCOLS names their classes. Every other path answers 404.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, unquote_to_bytes

from realtime.consumers import GatewayConsumer, refuse_upgrade
from realtime.core import ids
from realtime.core.errors import GatewayError, NotFound
from realtime.core.limits import MAX_FRAME_BYTES
from realtime.core.protocol import Protocol
from realtime.protocols.admin import AdminProtocol
from realtime.protocols.aether import AetherProtocol
from realtime.protocols.edge import EdgeProtocol
from realtime.protocols.goclaw import GoclawProtocol
from realtime.protocols.nexus import NexusProtocol
from realtime.protocols.remote import RemoteProtocol

PROTOCOLS: list[type[Protocol]] = [
    EdgeProtocol,
    GoclawProtocol,
    RemoteProtocol,
    AetherProtocol,
    NexusProtocol,
    AdminProtocol,
]

CONSUMERS: dict[str, Callable[[], GatewayConsumer]] = {
    protocol.name: functools.partial(
        GatewayConsumer, protocol=protocol, max_frame_bytes=MAX_FRAME_BYTES[protocol.name]
    )
    for protocol in PROTOCOLS
}


@dataclass(frozen=True, slots=True)
class Url:
    """`pattern` matches the path as sent, percent-encoded; the first row that matches holds."""

    pattern: re.Pattern[str]
    protocol: str
    with_token: bool = False  # only with a query key `token`, even an empty one


def _url(pattern: str, protocol: str, *, with_token: bool = False) -> Url:
    return Url(re.compile(pattern + "/?"), protocol, with_token)


URLS = [
    _url("/edge/ws", "edge"),
    # 004 must refuse by HTTP status and speak first, 001 stays silent: they are told apart here.
    _url("/ws", "nexus", with_token=True),
    _url("", "nexus", with_token=True),
    _url("/nexus(?:/ws)?", "nexus"),
    _url("/ws", "goclaw"),
    _url("/goclaw/ws", "goclaw"),
    _url("/v1/sessions/ws/(?P<session_id>[^/]+)/(?P<part>subscribe|worker)", "remote"),
    _url("/v3/ws/group/(?P<group_id>[^/]+)/client/(?P<client_id>[^/]+)", "aether"),
    _url("/admin/ws", "admin"),
]

LEGACY = re.compile("/ws/group(?:/.*)?|/ws_redis(?:/.*)?")
LEGACY_WORDS = "this path has moved: connect to /v3/ws/group/{group_id}/client/{client_id}"


def resolve(raw_path: str, query: str = "") -> tuple[str, dict[str, str]]:
    """The protocol's name and the path's ids, percent-decoded once. Raises NotFound."""
    has_token = "token" in parse_qs(query, keep_blank_values=True)
    for url in URLS:
        match = url.pattern.fullmatch(raw_path)
        if match and (has_token or not url.with_token):
            return url.protocol, {
                name: _id(name, value) for name, value in match.groupdict().items()
            }
    if LEGACY.fullmatch(raw_path):
        raise NotFound(LEGACY_WORDS)
    raise NotFound(f"no WebSocket answers at {raw_path[:200]}")


def _id(name: str, encoded: str) -> str:
    try:
        value = unquote_to_bytes(encoded.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise NotFound(f"{name} is not UTF-8") from None
    return ids.check(name, value)


def websocket(scope: dict[str, Any], receive: Any, send: Any) -> Awaitable[None]:
    """The WebSocket side of the application; an unknown path is a 404, never an exception."""
    raw_path = scope.get("raw_path") or quote(scope["path"]).encode()
    query = scope.get("query_string", b"").decode("latin-1")
    try:
        name, found = resolve(raw_path.decode("latin-1"), query)
    except NotFound as error:
        return _refuse(scope, receive, send, error)
    return CONSUMERS[name]()({**scope, "url_route": {"args": (), "kwargs": found}}, receive, send)


async def _refuse(scope: dict[str, Any], receive: Any, send: Any, error: GatewayError) -> None:
    await receive()
    await refuse_upgrade(scope, send, 404, error)
