"""Every refusal, and how each wire words it.

Raise a class by name anywhere; `Protocol.failed` (or `config/drf.py` for HTTP) looks up its row in
WIRE. Messages are safe to show to a peer. Source: PROTOCOLS.md 0.2, 2.3; the columns are the five
protocols plus HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class GatewayError(Exception):
    """A refusal with a message that is safe to show; `code` is its name in JSON answers."""

    code = "INTERNAL"
    default = "internal error"

    def __init__(
        self,
        message: str = "",
        *,
        details: dict[str, Any] | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message or self.default)
        self.details = details
        self.retry_after_ms = retry_after_ms


class MalformedFrame(GatewayError):
    code, default = "INVALID_REQUEST", "invalid frame"


class NotJson(MalformedFrame):
    """The text is no JSON at all."""


class UnexpectedFrame(GatewayError):
    code, default = "INVALID_REQUEST", "unexpected frame type"


class InvalidParams(GatewayError):
    """Well-formed, but a value is missing or not allowed."""

    code, default = "INVALID_REQUEST", "invalid parameters"


class UnknownMethod(GatewayError):
    code, default = "INVALID_REQUEST", "unknown method"


class NotConnected(GatewayError):
    code, default = "UNAUTHORIZED", "first request must be 'connect'"


class MissingCredentials(GatewayError):
    code, default = "UNAUTHORIZED", "credentials are required"


class BadCredentials(GatewayError):
    code, default = "UNAUTHORIZED", "credentials are not valid"


class RoleTooLow(GatewayError):
    code, default = "UNAUTHORIZED", "permission denied"


class HostRefused(GatewayError):
    code, default = "INVALID_REQUEST", "host is not in ALLOWED_HOSTS"


class OriginRefused(GatewayError):
    code, default = "FORBIDDEN", "origin is not in ALLOWED_ORIGINS"


class NotOwner(GatewayError):
    code, default = "FORBIDDEN", "session does not belong to user"


class NotFound(GatewayError):
    code, default = "NOT_FOUND", "not found"


class Conflict(GatewayError):
    code, default = "CONFLICT", "the state has changed meanwhile"


class ResourceExhausted(GatewayError):
    """A quota or an attempt limit is used up."""

    code, default = "RESOURCE_EXHAUSTED", "rate limited"


class RateLimited(GatewayError):
    """The message rate of PROTOCOLS.md 2.10; silent by default on 001."""

    code, default = "RESOURCE_EXHAUSTED", "rate limit exceeded — please wait"


class FrameTooLarge(GatewayError):
    code, default = "TOO_LARGE", "frame too large"


class UnsupportedMedia(GatewayError):
    """An upload whose content is not allowed, or is not what its name says. PROTOCOLS.md 2.11."""

    code, default = "UNSUPPORTED_MEDIA_TYPE", "this kind of file is not accepted"


class RangeRefused(GatewayError):
    code, default = "RANGE_NOT_SATISFIABLE", "the range lies outside of the file"


class StorageFull(GatewayError):
    code, default = "INSUFFICIENT_STORAGE", "there is no room left for uploads"


class SlowConsumer(GatewayError):
    code, default = "UNAVAILABLE", "reading too slowly"


class Replaced(GatewayError):
    code, default = "CONFLICT", "replaced by a newer connection"


class ClientIdInUse(GatewayError):
    """003: another principal of the account is connected under this client id. PROTOCOLS.md 6."""

    code, default = "FORBIDDEN", "this client id is in use by somebody else"


class GreetingTimeout(GatewayError):
    code, default = "UNAUTHORIZED", "no connect in time"


class TooManyFailures(GatewayError):
    code, default = "RESOURCE_EXHAUSTED", "too many failed attempts"


class Revoked(GatewayError):
    code, default = "UNAUTHORIZED", "access was revoked"


class Draining(GatewayError):
    code, default = "UNAVAILABLE", "server restarting"


class Unavailable(GatewayError):
    """A part that we depend on does not answer; worth another try."""

    code, default = "UNAVAILABLE", "temporarily unavailable"


class InternalFault(GatewayError):
    """Our own bug: logged with a traceback, told without details."""

    code, default = "INTERNAL", "internal error"


@dataclass(frozen=True, slots=True)
class Say:
    """Answer with an error frame; the connection stays open. Empty code: the error's own."""

    code: str = ""


@dataclass(frozen=True, slots=True)
class Shut:
    """Close with this code (accepting first, if the peer is still at the door)."""

    code: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """Refuse the upgrade, or answer the HTTP request, with this status."""

    status: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Ignore in silence, unless the deployment asks for an answer (`Limits.tell_rate_limit`)."""


@dataclass(frozen=True, slots=True)
class Never:
    """Cannot happen on this wire."""


Answer = Say | Shut | Refuse | Drop | Never

WIRES = ("edge", "goclaw", "remote", "aether", "nexus", "http", "admin")


def _row(*answers: Answer, admin: Answer | None = None) -> dict[str, Answer]:
    """The six columns of PROTOCOLS.md 0.2, and `/admin/ws`, which mostly words it as 004 does."""
    return dict(zip(WIRES, [*answers, admin or answers[4]], strict=True))


_say, _drop, _never = Say(), Drop(), Never()

# PROTOCOLS.md 0.2 is the authority.            edge         goclaw                 remote
# aether       nexus        http
WIRE: dict[type[GatewayError], dict[str, Answer]] = {
    MalformedFrame: _row(_say, _say, _drop, _say, _say, Refuse(400)),
    UnexpectedFrame: _row(_drop, _say, _drop, _say, _say, Refuse(400)),
    InvalidParams: _row(_say, _say, _say, _say, _say, Refuse(400)),
    UnknownMethod: _row(_drop, _say, _say, _say, _say, Refuse(404)),
    NotConnected: _row(_never, _say, _never, _never, _never, _never),
    MissingCredentials: _row(
        Shut(4001), _say, Shut(4003), Refuse(403), Refuse(401), Refuse(401), admin=Refuse(403)
    ),
    BadCredentials: _row(Shut(1008), _say, Shut(4003), Refuse(403), Refuse(403), Refuse(401)),
    RoleTooLow: _row(_say, _say, _say, _say, _say, Refuse(403), admin=Refuse(403)),
    HostRefused: _row(*[Refuse(400)] * 6),
    OriginRefused: _row(*[Refuse(403)] * 6),
    NotOwner: _row(_say, _say, Shut(4001), _say, _say, Refuse(403)),
    NotFound: _row(_say, _say, Shut(4001), _say, _say, Refuse(404)),
    Conflict: _row(_say, Say("INVALID_REQUEST"), _say, _say, _say, Refuse(409)),
    ResourceExhausted: _row(_say, _say, _say, _say, _say, Refuse(429)),
    RateLimited: _row(_drop, _drop, _say, _say, _say, Refuse(429)),
    FrameTooLarge: _row(*[Shut(1009)] * 5, Refuse(413)),
    UnsupportedMedia: _row(*[_say] * 5, Refuse(415)),
    RangeRefused: _row(*[_never] * 5, Refuse(416)),
    StorageFull: _row(*[_say] * 5, Refuse(507)),
    SlowConsumer: _row(*[Shut(4008)] * 5, _never),
    Replaced: _row(Shut(4009), _never, Shut(4009), _never, _never, _never),
    ClientIdInUse: _row(_never, _never, _never, Refuse(403), _never, Refuse(403)),
    GreetingTimeout: _row(_never, Shut(4010), _never, _never, _never, _never),
    TooManyFailures: _row(Refuse(429), _say, Shut(4003), Refuse(429), Refuse(429), Refuse(429)),
    Revoked: _row(Shut(1008), Shut(4003), Shut(4003), Shut(4003), Shut(4003), Refuse(401)),
    Draining: _row(*[Shut(1012)] * 5, Refuse(503)),
    Unavailable: _row(_say, _say, _say, _say, _say, Refuse(503)),
    InternalFault: _row(Shut(1011), _say, Shut(1011), Shut(1011), _say, Refuse(500)),
}


def wire_answer(wire: str, error: GatewayError) -> Answer:
    """How `wire` (a column of WIRE) words `error`; a subclass without a row uses its parent's."""
    for kind in type(error).__mro__:
        if kind in WIRE:
            return WIRE[kind][wire]
    return WIRE[InternalFault][wire]
