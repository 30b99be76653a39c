"""What an agent says of a command, over its socket and over HTTP. Source: PROTOCOLS.md 1.3, 1.7."""

from __future__ import annotations

from typing import Any

import msgspec

from realtime.core import wire
from realtime.core.operations import AcknowledgeCommand


class Ack(msgspec.Struct, frozen=True):
    """Both shapes of 1.3; absent keys stay empty."""

    command_id: str
    status: str = ""
    success: bool | None = None
    error: str | None = None
    completed_at: str | None = None
    timestamp: str | None = None
    result: Any = None

    @property
    def operation(self) -> AcknowledgeCommand:
        status = self.status
        if not status and self.success is not None:
            status = "completed" if self.success else "failed"
        return AcknowledgeCommand(
            command_id=self.command_id,
            status=status,
            error=self.error or "",
            completed_at=self.completed_at or self.timestamp or "",
            result=self.result,
        )


def read(frame: dict[str, Any]) -> AcknowledgeCommand:
    """Raises MalformedFrame."""
    return wire.shape(body(frame, "command_id"), Ack, "malformed command_ack").operation


def body(frame: dict[str, Any], needed: str = "") -> dict[str, Any]:
    """The fields of a frame: under `data`, under `payload`, or at the top (1.3)."""
    top = {key: value for key, value in frame.items() if key != "type"}
    places = [frame.get("data"), frame.get("payload"), top]
    found = [place for place in places if isinstance(place, dict)]
    return next((place for place in found if needed in place), found[0])
