"""What a command's state and each of its steps means, in words. Source: PROTOCOLS.md 1.5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils import timezone

from accounts.models import EdgeAgent
from sessions_app.models import CommandEvent, ScheduledCommand, Status
from sessions_app.services import agents
from sessions_app.services.acknowledgements import EXECUTED, LATE
from sessions_app.services.claims import LAPSED

TAKEN_OVER = "the agent has taken it over, and says again when it is done"
DONE = "the agent has done it"
MEANINGS: dict[str, str] = {
    Status.SCHEDULED: "put into the queue",
    Status.LEASED: "taken from the queue for the process that holds the agent's socket",
    Status.DELIVERED: "written to the agent's socket",
    Status.RECEIVED: "the agent has it",
    Status.EXECUTING: "the agent is doing it",
    Status.COMPLETED: TAKEN_OVER,  # without a `completed_at`
    Status.FAILED: "the agent could not do it",
    Status.EXPIRED: "its time ran out",
    Status.CANCELLED: "called off",
    Status.DEAD: "given up: it was written and never acknowledged",
    EXECUTED: DONE,
    LATE: "too late: this answer changed nothing",
    LAPSED: "not written in time, back into the queue",
}


@dataclass(frozen=True, slots=True)
class Step:
    event: CommandEvent

    @property
    def meaning(self) -> str:
        """Empty for a kind that agents name themselves."""
        if self.event.kind == Status.COMPLETED and self.event.data.get("completed_at"):
            return DONE
        return MEANINGS.get(self.event.kind, "")

    @property
    def told(self) -> dict[str, object]:
        return {name: value for name, value in self.event.data.items() if value != ""}


def standing(command: ScheduledCommand, steps: Sequence[Step]) -> str:
    """What a command is waiting for, or how it ended."""
    if command.status == Status.SCHEDULED:
        return _waiting(command)
    if command.status == Status.COMPLETED:
        this_time = [step for step in steps if step.event.attempt == command.retries]
        return DONE if any(step.meaning == DONE for step in this_time) else TAKEN_OVER
    if command.status == Status.DELIVERED:
        return f"{MEANINGS[command.status]}, waits for its acknowledgement"
    return MEANINGS[command.status]


def _waiting(command: ScheduledCommand) -> str:
    if command.deliver_at > timezone.now():
        return "held here until it is due"
    agent = EdgeAgent.objects.filter(pk=command.agent_id)
    if not agent.filter(is_active=True).exists():
        return "its agent is shut out"
    is_online = agent.filter(agents.holder()).exists()
    return "about to be sent" if is_online else "waits for its agent, which is offline"
