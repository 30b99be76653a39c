"""001's frames. Source: PROTOCOLS.md 2.2, 2.3."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from realtime.core import wire
from realtime.core.errors import GatewayError, MalformedFrame, UnexpectedFrame

PROTOCOL_VERSION = 3


class Request(msgspec.Struct, frozen=True):
    """client → server; `id` is quoted in the answer."""

    type: Literal["req"]
    id: str
    method: str
    params: dict[str, Any] | None = None


def decode(text: str | bytes) -> Request:
    """One request. Raises MalformedFrame or UnexpectedFrame in the texts of 2.3."""
    value = wire.decode(text)
    if not isinstance(value, dict):
        raise MalformedFrame(f"invalid frame: expected an object, got {_kind(value)}")
    kind = value.get("type")
    if kind != "req":
        raise UnexpectedFrame(f"unexpected frame type: {_shown(kind)}")
    return wire.shape(value, Request, "malformed request")


def response(ref: str, payload: Any = None) -> dict[str, Any]:
    """An ok answer; the payload key is absent when there is none."""
    frame = {"type": "res", "id": ref, "ok": True}
    if payload is not None:
        frame["payload"] = payload
    return frame


def failure(ref: str, code: str, error: GatewayError) -> dict[str, Any]:
    body: dict[str, Any] = {"code": code, "message": str(error)}
    if error.details is not None:
        body["details"] = error.details
    if error.retry_after_ms is not None:
        body["retryable"] = True
        body["retryAfterMs"] = error.retry_after_ms
    return {"type": "res", "id": ref, "ok": False, "error": body}


def event(name: str, payload: Any = None) -> dict[str, Any]:
    frame: dict[str, Any] = {"type": "event", "event": name}
    if payload is not None:
        frame["payload"] = payload
    return frame


def _kind(value: Any) -> str:
    return {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(
        type(value), "a number"
    )


def _shown(kind: Any) -> str:
    return kind[:64] if isinstance(kind, str) else "" if kind is None else wire.encode(kind)[:64]
