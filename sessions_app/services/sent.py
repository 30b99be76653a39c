"""What became of a `chat.send`, for whoever has to carry it out or answer it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from realtime.core.addresses import Address
from sessions_app.services import run_events
from sessions_app.services.run_events import RunFacts

Outcome = Literal["started", "handed", "injected", "cancelled", "repeated", "done", "busy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One outcome.

    started: run `agent` now with `message` (`runs.begin` has what was said before), events after
    `started_announcement`; the answer is what `runs.finish` returns. handed: the session's worker
    has it, and ends the run. repeated: the same `messageId`
    again while its run is under way: the answer is that run's. done: that run has ended, `result`
    is its answer (`{"error": text}` if it failed). injected, cancelled: `result` is the answer.
    busy: nothing was stored, because a message with media waits for the end of `run`: send it again
    then.
    """

    outcome: Outcome
    session_key: str
    agent_id: str
    run: RunFacts | None = None
    started_announcement: int = 0
    result: dict[str, Any] = field(default_factory=dict)
    message: str = ""
    model: str = ""
    again: bool = False  # it had been stored before

    @property
    def run_id(self) -> str:
        return self.run.id if self.run else ""

    @property
    def agent(self) -> str:
        return self.run.agent if self.run else ""

    @property
    def stream(self) -> bool:
        return self.run.stream if self.run else False

    @property
    def audience(self) -> list[Address]:
        return run_events.audience(self.run) if self.run else []

    @property
    def watchers(self) -> list[Address]:
        return run_events.watchers(self.run) if self.run else []
