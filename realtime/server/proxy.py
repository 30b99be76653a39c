"""TrustedProxies: believe forwarded headers only when one's own proxy sent them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

App = Callable[[Any, Any, Any], Awaitable[None]]
Address = IPv4Address | IPv6Address

FOR, PROTO = b"x-forwarded-for", b"x-forwarded-proto"
SECURE = {"http": "https", "websocket": "wss"}
PLAIN = {"http": "http", "websocket": "ws"}


class TrustedProxies:
    """Set scope["client"] and ["scheme"] from X-Forwarded-For and -Proto of peers in `networks`.

    From anyone else both headers are removed. Raises ValueError for a network that is none.
    """

    def __init__(self, app: App, networks: Sequence[str]) -> None:
        self._app = app
        self._networks = [ip_network(network, strict=False) for network in networks]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in SECURE:
            scope = self._told(scope) if self._from_proxy(scope) else _without_hearsay(scope)
        running = self._app(scope, receive, send)
        del scope  # else it is kept for as long as a socket is open
        await running

    def _from_proxy(self, scope: Any) -> bool:
        client = scope.get("client")
        address = _address(client[0]) if client else None
        return address is not None and self._trusts(address)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def _told(self, scope: Any) -> Any:
        scope = dict(scope)
        client = self._client(_entries(scope["headers"], FOR))
        if client is not None:
            scope["client"] = client
        protocols = _entries(scope["headers"], PROTO)
        if protocols and protocols[-1].lower() in ("http", "https"):
            schemes = SECURE if protocols[-1].lower() == "https" else PLAIN
            scope["scheme"] = schemes[scope["type"]]
        return scope

    def _client(self, entries: list[str]) -> tuple[str, int] | None:
        """The right-most entry that is not a proxy of ours; what is left of it is hearsay."""
        client = None
        for entry in reversed(entries):
            host, port = _split(entry)
            address = _address(host)
            if address is None:
                break
            client = (str(address), port)
            if not self._trusts(address):
                break
        return client


def _without_hearsay(scope: Any) -> Any:
    headers = [header for header in scope["headers"] if header[0].lower() not in (FOR, PROTO)]
    return {**scope, "headers": headers}


def _entries(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> list[str]:
    values = [value.decode("latin-1") for name, value in headers if name.lower() == wanted]
    return [entry for part in ",".join(values).split(",") if (entry := part.strip())]


def _split(entry: str) -> tuple[str, int]:
    """`address`, `address:port`, `[address]` or `[address]:port`; no port is 0."""
    if entry.startswith("["):
        host, _, port = entry[1:].partition("]")
        port = port.removeprefix(":")
    elif entry.count(":") == 1:
        host, _, port = entry.partition(":")
    else:
        host, port = entry, ""
    return host, int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
