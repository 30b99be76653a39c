"""The agent's answers. Source: PROTOCOLS.md 1.3, 1.5, 6.

Every answer is recorded once, whoever repeats it. `completed` means scheduled, the second one sent;
it may also turn out to have failed. After expiry, cancelling or giving up an answer comes too late.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import structlog
from django.db import transaction

from realtime.core import wire
from realtime.core.errors import InvalidParams
from realtime.core.principal import Principal
from sessions_app.models import TRANSITIONS, ScheduledCommand, Status
from sessions_app.services import clock
from sessions_app.services.command_steps import is_recorded, record, tell

logger = structlog.get_logger("gateway")

STEPS = (Status.RECEIVED, Status.EXECUTING)
ENDS = (Status.COMPLETED, Status.FAILED)
ALLOWED = (*ENDS, *STEPS)
# Kinds of events that are no status.
EXECUTED = "executed"  # completed, said for the second time
LATE = "late"  # it changed nothing any more
ERROR_LENGTH = 4000
MAX_RESULT_BYTES = 64 * 1024  # as JSON
TIME_LENGTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: Status
    error: str
    completed_at: str
    result: Any
    actor: str
    at: dt.datetime

    @property
    def data(self) -> dict[str, Any]:
        told = {"error": self.error, "completed_at": self.completed_at}
        return {name: text for name, text in told.items() if text}


@transaction.atomic
def acknowledge(
    *,
    principal: Principal,
    command_id: str,
    status: str,
    error: str = "",
    completed_at: str = "",
    result: Any = None,
) -> dict[str, Any]:
    """Record what an agent says of its command; `recorded` is False for what was known.

    Of another agent's or an unknown command nothing is changed and nothing told. Raises
    InvalidParams for a status that is none.
    """
    if status not in ALLOWED:
        allowed = ", ".join(ALLOWED)
        raise InvalidParams(f"status: {status!r} is not allowed; it takes {allowed}")
    command = _locked(principal, command_id)
    # Before its first write nobody can know it: the id was guessed.
    if command is None or not command.attempts:
        logger.warning(
            "command.ack_ignored",
            command=command_id[:128],
            agent=principal.id,
            account=principal.account,
            status=status,
        )
        return {"recorded": False}
    answer = _Answer(
        status=Status(status),
        error=error[:ERROR_LENGTH],
        completed_at=completed_at[:TIME_LENGTH],
        result=_kept(result, command),
        actor=principal.id,
        at=clock.now(),
    )
    return {"recorded": _take_in(command, answer)}


def _locked(principal: Principal, command_id: str) -> ScheduledCommand | None:
    rows = ScheduledCommand.objects.select_related("account", "agent")
    return (
        rows.select_for_update(of=("self",))
        .filter(pk=command_id, account__slug=principal.account, agent__agent_id=principal.id)
        .first()
    )


def _kept(result: Any, command: ScheduledCommand) -> Any:
    """A result that is small enough; without it the answer counts all the same."""
    if result is None or len(wire.encode(result).encode()) <= MAX_RESULT_BYTES:
        return result
    logger.warning("command.result_dropped", command=command.pk, most=MAX_RESULT_BYTES)
    return None


def _take_in(command: ScheduledCommand, answer: _Answer) -> bool:
    match Status(command.status):
        case Status.DELIVERED | Status.RECEIVED | Status.EXECUTING:
            return _advance(command, answer)
        case Status.COMPLETED if answer.status is Status.COMPLETED:
            return _confirm(command, answer)
        case Status.COMPLETED if answer.status is Status.FAILED:
            return _advance(command, answer)
        case (Status.COMPLETED | Status.FAILED) as ended if answer.status in (*STEPS, ended):
            return _remark(command, answer, answer.status)  # overtaken on the way
        case _:
            return _remark(command, answer, LATE)


def _advance(command: ScheduledCommand, answer: _Answer) -> bool:
    """Change the status, if the table lets it: a step may have been overtaken by a later one."""
    if answer.status not in TRANSITIONS[command.status]:
        return _remark(command, answer, answer.status)
    changes: dict[str, Any] = {"error": answer.error} if answer.status is Status.FAILED else {}
    if answer.result is not None:
        changes["result"] = answer.result
    if answer.status in ENDS:
        moment = "executed_at" if command.acknowledged_at else "acknowledged_at"
        changes[moment] = answer.at
    rows = ScheduledCommand.objects.filter(pk=command.pk, status=command.status)
    if not rows.move(answer.status, **changes):
        return False
    record([command], answer.status, at=answer.at, actor=answer.actor, data=answer.data)
    tell([command], answer.status, at=answer.at)
    return True


def _confirm(command: ScheduledCommand, answer: _Answer) -> bool:
    """The second `completed`: now it is done. The first one said again, word for word, is no
    second one: only a really second one has a `completed_at` of its own (PROTOCOLS.md 1.5).
    """
    first = command.events.filter(kind=Status.COMPLETED, attempt=command.retries).first()
    said_at = (first.data.get("completed_at") if first else None) or ""
    if command.executed_at or said_at == answer.completed_at:
        return False
    changes = {} if answer.result is None else {"result": answer.result}
    ScheduledCommand.objects.filter(pk=command.pk).update(executed_at=answer.at, **changes)
    return _remark(command, answer, EXECUTED)


def _remark(command: ScheduledCommand, answer: _Answer, kind: str) -> bool:
    """An event without a change of the status; once."""
    if is_recorded(command, kind):
        return False
    data = answer.data | ({"status": answer.status.value} if kind == LATE else {})
    record([command], kind, at=answer.at, actor=answer.actor, data=data)
    tell([command], command.status, at=answer.at)
    return True
