"""What a command says, and what is said of it: frames in and out (PROTOCOLS.md 1.3 to 1.5)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

SCHEDULE = "schedule_message"
CANCEL = "cancel_scheduled"

MAX_ERROR = 2000  # characters of a handler's complaint

Ack = dict[str, str]


@dataclass(frozen=True)
class Command:
    """One command, as a handler gets it; `send_at` is seconds since 1970, None for one without."""

    id: str
    type: str
    payload: Mapping[str, Any] = field(default_factory=dict, repr=False)
    priority: str = "normal"
    timestamp: str = ""
    send_at: float | None = None

    @property
    def lane(self) -> str:
        """Commands of one lane act one after another: those of one conversation."""
        for key in ("thread_id", "chat_guid"):
            if isinstance(value := self.payload.get(key), str) and value:
                return clean(value)
        return f"command {self.id}"


class Malformed(Exception):
    """A command that cannot be acted on; the text goes into its acknowledgement."""


def body(frame: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The object with the `command_id`, under `data` or under `payload`; None without one."""
    for key in ("data", "payload"):
        found = frame.get(key)
        if isinstance(found, dict) and _is_text(found.get("command_id")):
            return found
    return None


def understood(said: Mapping[str, Any]) -> Command:
    """The command that a body means. Raises Malformed for a bad `send_at`."""
    payload = said.get("payload")
    payload = payload if isinstance(payload, dict) else {}
    kind = said.get("command_type")
    kind = kind if isinstance(kind, str) else ""
    scheduled = kind == SCHEDULE or "send_at" in payload
    return Command(
        id=said["command_id"],
        type=kind,
        payload=payload,
        # on the wrapper for the production client, in the inner payload by the specification
        priority=str(said.get("priority") or payload.get("priority") or "normal"),
        timestamp=str(said.get("timestamp") or ""),
        send_at=moment(payload.get("send_at")) if scheduled else None,
    )


def moment(text: object) -> float:
    """Seconds since 1970 of an ISO 8601 time with its offset. Raises Malformed."""
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
        if at is not None and at.tzinfo is not None:
            return at.timestamp()
    except (ValueError, OverflowError):
        pass
    raise Malformed(f"Invalid timestamp: {text}")


def written(seconds: float) -> str:
    """ISO 8601 in UTC with milliseconds and Z, as agents have always written it."""
    at = datetime.fromtimestamp(seconds, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def scheduled(command_id: str) -> Ack:
    """It is stored and will act at its time; the second acknowledgement says how that went."""
    return {"command_id": command_id, "status": "completed"}


def completed(command_id: str, at: float) -> Ack:
    return {"command_id": command_id, "status": "completed", "completed_at": written(at)}


def failed(command_id: str, error: str) -> Ack:
    return {"command_id": command_id, "status": "failed", "error": clean(error)[:MAX_ERROR]}


def received(command_id: str) -> Ack:
    """It is stored and not finished: there is no need to send it again."""
    return {"command_id": command_id, "status": "received"}


def frame(kind: str, data: Mapping[str, Any]) -> str:
    return json.dumps({"type": kind, "data": data}, ensure_ascii=False, separators=(",", ":"))


def clean(text: str) -> str:
    """Without what neither UTF-8 nor a database can carry: lone surrogates and U+0000."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != "" and clean(value) == value
