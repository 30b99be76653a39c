"""The upgrade request, reduced: the only reader of headers and query of a WebSocket.

Exact lower-case header names; a header that must be single and is not counts as malformed.
Source: PROTOCOLS.md 0.1, 2.1; RELIABILITY.md I15, H-02 to H-05.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

_SINGLE = {
    b"authorization": "Authorization",
    b"host": "Host",
    b"origin": "Origin",
    b"x-account-id": "X-Account-Id",
    b"x-api-key": "X-API-Key",
    b"x-edge-agent-id": "X-Edge-Agent-Id",
}
_SINGLE_IN_QUERY = {"api_key", "edge_agent_id", "jwt", "token", "x_account_id"}
MAX_QUERY_FIELDS = 100
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class Handshake:
    """`parameters`: the path's, percent-decoded. `address`: the peer's network address.

    Credentials are kept out of `repr`.
    """

    path: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    address: str = ""
    secure: bool = False
    fault: str = ""  # what makes the request malformed, if anything

    @classmethod
    def from_scope(cls, scope: Mapping[str, Any]) -> Handshake:
        """From an ASGI websocket scope whose `url_route` Channels has filled."""
        headers: dict[str, str] = {}
        fault = ""
        for name, value in scope.get("headers", []):
            if b"_" in name:
                continue  # X_Forwarded_For is not X-Forwarded-For
            if name in _SINGLE and name.decode("latin-1") in headers:
                fault = f"{_SINGLE[name]} may be given once"
            headers[name.decode("latin-1")] = value.decode("latin-1")
        text = scope.get("query_string", b"").decode("latin-1")
        query: dict[str, list[str]] = {}
        if text.count("&") < MAX_QUERY_FIELDS:
            query = parse_qs(text, keep_blank_values=True)
        else:
            fault = f"the query takes at most {MAX_QUERY_FIELDS} fields"
        for name in _SINGLE_IN_QUERY & query.keys():
            if len(set(query[name])) > 1:
                fault = f"the query has two different values of {name}"
        client = scope.get("client") or ("", 0)
        return cls(
            path=scope.get("path", ""),
            parameters=scope.get("url_route", {}).get("kwargs", {}),
            query={name: values[-1] for name, values in query.items()},
            headers=headers,
            address=str(client[0]),
            secure=scope.get("scheme") in {"wss", "https"},
            fault=fault,
        )

    @property
    def bearer(self) -> str:
        """The token of `Authorization: Bearer …`, or ""."""
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if kind.lower() == "bearer" else ""

    def cookie(self, name: str) -> str:
        """The value of a cookie, or ""; of several by that name the last, as Django's: both doors
        must mean the same person.
        """
        parts = (part.partition("=") for part in self.headers.get("cookie", "").split(";"))
        found = [value.strip().strip('"') for key, _, value in parts if key.strip() == name]
        return found[-1] if found else ""

    @property
    def user_agent(self) -> str:
        return self.headers.get("user-agent", "")[:200]

    def host_allowed(self, allowed: Sequence[str]) -> bool:
        """Django's rule for ALLOWED_HOSTS: exact, `.example.com` with subdomains, or `*`."""
        host = _host_name(self.headers.get("host", ""))
        return bool(host) and any(
            pattern == "*"
            or host == pattern.lower()
            or (pattern.startswith(".") and (host.endswith(pattern) or host == pattern[1:]))
            for pattern in allowed
        )

    def origin_allowed(self, allowed: Sequence[str], *, cookies_used: bool = False) -> bool:
        """Exact comparison; the server's own origin always passes.

        An absent Origin passes (programs send none) unless cookies carry the credentials.
        """
        origin = self.headers.get("origin")
        if origin is None:
            return not cookies_used
        if self.fault:
            return False
        origin = origin.lower()
        return "*" in allowed or origin == self.own_origin or origin in allowed

    @property
    def own_origin(self) -> str:
        scheme = "https" if self.secure else "http"
        host = self.headers.get("host", "").lower()
        return f"{scheme}://{host.removesuffix(_DEFAULT_PORTS[scheme])}"


def _host_name(host: str) -> str:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
    if "@" in host or "/" in host:
        return ""
    return f"[{name}]" if ":" in name else name.rstrip(".")
