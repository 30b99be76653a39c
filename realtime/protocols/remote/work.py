"""The worker's side of 002: what it says is kept or shown, and told to 001 as a run's events.

Source: PROTOCOLS.md 2.7 (events of a run), 3.4, 3.5, 6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from realtime.core import addresses, topics
from realtime.core import session_messages as messages
from realtime.core.addresses import Address
from realtime.core.effects import Call, Effect, Publish
from realtime.core.events import SESSION_SAID, Event
from realtime.core.operations import WorkInSession
from realtime.core.session_messages import Frame
from realtime.protocols.remote import frames

# What is shown to who watches now, and kept nowhere.
LIVE = {"stream_event", "tool_progress", "auth_status", "tool_use_summary", "rate_limit_event"}

WORK = "work:"  # the ref of what is kept, followed by its uuid


class Work:
    """One worker's socket in one session."""

    __slots__ = ("_after", "_connection", "_count", "_now", "_place", "_run", "_streamed")

    def __init__(self, connection: str, place: Address, now: Callable[[], float]) -> None:
        self._connection = connection
        self._place = place
        self._now = now
        self._run: Frame | None = None  # what 001's events of the turn under way repeat
        self._after = 0  # the announcement that what is live now follows
        self._streamed = False  # whether the message has been told in pieces
        self._count = 0

    def goes_on(self, run: Frame | None) -> None:
        """The turn under way is this one, or none is."""
        if run is None or self._run is None or run["runId"] != self._run["runId"]:
            self._streamed = False
        self._run = run

    def kept(self, outcome: dict[str, Any]) -> None:
        """What was said has been stored."""
        self._after = outcome["after"] or self._after
        self.goes_on(outcome["run"])

    def says(self, frame: Frame, told: int) -> list[Effect]:
        """`told`: the number of the event that the worker had been sent last."""
        match frame["type"]:
            case "assistant" if messages.has_words(frame):
                return [self._keep(frame), *self._spoken(frame)]
            case "user" if messages.has_words(frame):
                return [self._keep(frame), *self._tools_used(frame)]
            case "system":
                return [self._keep(frame)]
            case "result":
                return [self._keep(frame, told)]
            case "control_request" if messages.is_request(frame):
                return [self._keep(frame)]
            case "control_response" if messages.is_response(frame):
                return [self._keep(frame)]
            case "control_cancel_request" if messages.request_id(frame):
                return [self._keep(frame)]
            case "stream_event":
                return [self._show(frame), *self._piece(frame)]
            case kind if kind in LIVE:
                return [self._show(frame)]
            case _:
                return []

    def _keep(self, frame: Frame, told: int = 0) -> Effect:
        uuid = messages.uuid_of(frame)
        said = WorkInSession(
            session_id=self._place.key,
            connection=self._connection,
            frame=frame,
            event_uuid=uuid,
            told=told,
        )
        return Call(said, WORK + uuid)

    def _show(self, frame: Frame) -> Effect:
        """To who watches now, behind what was stored last."""
        self._count += 1
        shown = {
            **frame,
            "uuid": messages.uuid_of(frame) or f"{self._connection}-{self._count}",
            "session_id": self._place.key,
            "created_at": topics.written(self._now()),
        }
        return Publish([self._place], Event(SESSION_SAID, {"frame": shown}, after=self._after))

    # --- 001's events of the turn ---

    def _piece(self, frame: Frame) -> list[Effect]:
        event = frame.get("event")
        delta = event.get("delta") if isinstance(event, dict) else None
        if not isinstance(delta, dict):
            return []
        if isinstance(delta.get("text"), str):
            self._streamed = True
            return self._tell("chunk", {"content": delta["text"]})
        if isinstance(delta.get("thinking"), str):
            return self._tell("thinking", {"content": delta["thinking"]})
        return []

    def _spoken(self, frame: Frame) -> list[Effect]:
        told: list[Effect] = []
        for block in frames.blocks(frame):
            if block.get("type") == "tool_use":
                names = {"name": block.get("name"), "id": block.get("id")}
                told += self._tell("tool.call", {**names, "arguments": block.get("input")})
            elif isinstance(block.get("text"), str) and not self._streamed:
                told += self._tell("chunk", {"content": block["text"]})
        self._streamed = False
        return told

    def _tools_used(self, frame: Frame) -> list[Effect]:
        told: list[Effect] = []
        for block in frames.blocks(frame):
            if block.get("type") == "tool_result":
                result = {"id": block.get("tool_use_id"), "result": block.get("content")}
                result["is_error"] = bool(block.get("is_error"))
                told += self._tell("tool.result", result)
        return told

    def _tell(self, kind: str, payload: Frame) -> list[Effect]:
        run = self._run
        if run is None or (kind == "chunk" and not run["_stream"]):
            return []
        told = Event("agent", {**run, "type": kind, "payload": payload}, after=self._after)
        account = run["_account"]
        return [Publish([addresses.user(account, run["userId"]), addresses.admins(account)], told)]
