"""What somebody asks of an agent, read and checked. Source: CONTRACT.md, POST /api/edge/commands/.

Every refusal names its field, in the message and in `details`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import unicodedata
from dataclasses import dataclass
from typing import Any

from accounts.models import MAX_ID
from realtime.core import wire
from realtime.core.errors import FrameTooLarge, InvalidParams, MalformedFrame
from sessions_app.models import ScheduledCommand

MAX_PAYLOAD_BYTES = 256 * 1024  # as JSON; a frame carries it twice
TYPE_LENGTH = 128
EARLIEST = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
EXAMPLE = "2025-11-15T18:30:00Z"
CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})  # categories; the last two begin a new line
LONGEST_SHOWN = 80  # characters
LATEST = dt.datetime(9999, 12, 30, tzinfo=dt.UTC)  # no time zone carries it out of the calendar

Moment = dt.datetime | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A command as it was asked for; `deliver_at` None is now. `size` of the payload in bytes."""

    agent_id: str
    command_type: str
    payload: dict[str, Any]
    priority: str
    deliver_at: dt.datetime | None
    expires_at: dt.datetime | None
    idempotency_key: str
    delivery: str
    size: int

    @property
    def fingerprint(self) -> str:
        """The same for two requests that ask for the same."""
        asked = {
            name: getattr(self, name)
            for name in ("agent_id", "command_type", "payload", "priority", "delivery")
        }
        moments = [at and at.isoformat() for at in (self.deliver_at, self.expires_at)]
        text = json.dumps([asked, moments], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def read(
    *,
    agent_id: str,
    command_type: str,
    payload: Any,
    priority: str = "",
    deliver_at: Moment = None,
    expires_at: Moment = None,
    idempotency_key: str = "",
    delivery: str = "at_least_once",
) -> Request:
    """Raises InvalidParams, FrameTooLarge. Without `priority` the payload's own one counts."""
    size = _size(payload)
    return Request(
        agent_id=_text(agent_id, "agent_id", MAX_ID),
        command_type=_text(command_type, "command_type", TYPE_LENGTH),
        payload=payload,
        priority=_choice(
            _own(payload) if priority == "" else priority, "priority", ScheduledCommand.Priority
        ),
        deliver_at=moment(deliver_at, "deliver_at"),
        expires_at=moment(expires_at, "expires_at"),
        idempotency_key=(
            "" if idempotency_key == "" else _text(idempotency_key, "idempotency_key", MAX_ID)
        ),
        delivery=_choice(delivery, "delivery", ScheduledCommand.Delivery),
        size=size,
    )


def _own(payload: dict[str, Any]) -> str:
    """The payload's own priority; there may be something else under that name."""
    own = payload.get("priority")
    known = isinstance(own, str) and own in ScheduledCommand.Priority.values
    return str(own) if known else ScheduledCommand.Priority.NORMAL.value


def moment(value: Moment, name: str) -> dt.datetime | None:
    """An aware moment in UTC, from ISO-8601 with a zone. Raises InvalidParams."""
    if value is None or value == "":
        return None
    try:
        read = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
        if read.tzinfo is None:
            raise refused(name, f"{_shown(value)} names no time zone; it takes {EXAMPLE}")
        read = read.astimezone(dt.UTC)
    except (ValueError, OverflowError, AttributeError, TypeError):
        raise refused(name, f"{_shown(value)} is not a time; it takes {EXAMPLE}") from None
    if not EARLIEST <= read <= LATEST:
        raise refused(name, f"{_shown(value)} lies outside of the years 2000 to 9999")
    return read


def check_order(request: Request, now: dt.datetime) -> None:
    """Raises InvalidParams when it would expire before it could be delivered."""
    if request.expires_at is not None and request.expires_at <= max(request.deliver_at or now, now):
        raise refused("expires_at", "it must lie in the future and after deliver_at")


def refused(name: str, words: str) -> InvalidParams:
    return InvalidParams(f"{name}: {words}", details={"field": name})


def _shown(value: Any) -> str:
    """A refused value as an answer can carry it: cut, and without lone surrogates."""
    text = str(value) if isinstance(value, dt.datetime) else ascii(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _size(payload: Any) -> int:
    if not isinstance(payload, dict):
        raise refused("payload", "it must be a JSON object")
    try:
        wire.sanitize(payload)
        size = len(wire.encode(payload).encode())
    except MalformedFrame as error:
        raise refused("payload", str(error).removeprefix("invalid frame: ")) from None
    except (TypeError, ValueError, RecursionError, UnicodeError):
        raise refused("payload", "it must be JSON") from None
    if size > MAX_PAYLOAD_BYTES:
        raise FrameTooLarge(
            f"payload: {size} bytes as JSON; it takes up to {MAX_PAYLOAD_BYTES}",
            details={"field": "payload"},
        )
    return size


def _text(value: Any, name: str, longest: int) -> str:
    if not isinstance(value, str) or not value.strip():
        raise refused(name, "it must be a text that is not empty")
    if len(value) > longest:
        raise refused(name, f"it is longer than {longest} characters")
    if any(unicodedata.category(character) in CONTROLS for character in value):
        raise refused(name, "it must not contain control characters")
    return value


def _choice(value: Any, name: str, allowed: Any) -> str:
    if value not in allowed.values:
        raise refused(name, f"{_shown(value)} is not allowed; it takes {', '.join(allowed.values)}")
    return str(value)
