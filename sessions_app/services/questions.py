"""A worker's questions (`can_use_tool`, …): they wait for a person, and the first answer counts.

They outlive sockets and processes. Source: PROTOCOLS.md 3.5; section 6 for who may answer.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction

from accounts.services import journal, scopes
from realtime.core.principal import Principal
from sessions_app.models import ControlRequest, Run, Session, SessionEvent
from sessions_app.services.ownership import named_session
from sessions_app.services.session_requests import (
    Frame,
    settle,
    stamped,
    tell_viewers,
    tell_worker,
)

Asker, Status = ControlRequest.Asker, ControlRequest.Status


def pending(session: Session) -> list[Frame]:
    """The open questions, oldest first."""
    rows = session.requests.filter(asker=Asker.WORKER, status=Status.PENDING)
    return [row.frame() for row in rows.select_related("session")]


def ask(session: Session, *, request_id: str, request: Frame, asked_by: str) -> None:
    """A question of the session's worker; one that was answered before gets its answer again."""
    row, new = session.requests.get_or_create(
        asker=Asker.WORKER,
        request_id=request_id,
        defaults={"request": request, "asked_by": asked_by},
    )
    row.session = session
    if new:
        tell_viewers(session, row.frame())
        tell_status(session)
    elif row.status == Status.ANSWERED:
        tell_worker(session, row.answer())


@transaction.atomic
def answer(
    *,
    principal: Principal,
    session_id: str,
    request_id: str,
    response: Frame,
    connection: str = "",
) -> dict[str, Any]:
    """Whether this answer counts: the first does, and the other viewers hear that it is settled.

    `connection`: the answering socket. Raises NotFound, NotOwner, RoleTooLow.
    """
    session = named_session(principal, session_id, lock=True)
    scopes.require_to_act(principal, "operator.approvals", "answering a question")
    row = session.requests.filter(asker=Asker.WORKER, request_id=request_id).first()
    if row is None or not settle(row, response, by=principal.id):
        return {"taken": False}
    row.session = session
    tell_worker(session, row.answer())
    _tell_settled(row, but=connection)
    tell_status(session)
    journal.decided("question.answered", principal=principal, row=row, action=_word(response))
    return {"taken": True}


def withdraw(session: Session, request_id: str = "") -> None:
    """Cancel the open questions, or one of them: nobody waits for an answer any more."""
    rows = session.requests.filter(asker=Asker.WORKER, status=Status.PENDING)
    if request_id:
        rows = rows.filter(request_id=request_id)
    found = list(rows)
    for row in found:
        row.session = session
        ControlRequest.objects.filter(pk=row.pk).update(status=Status.CANCELLED)
        _tell_settled(row)
    if found:
        tell_status(session)


def answered_since_the_last_turn(session: Session, ended: SessionEvent | None) -> list[Frame]:
    """The answers that a worker may have missed; `ended`: the event that ended the last turn."""
    rows = session.requests.filter(asker=Asker.WORKER, status=Status.ANSWERED)
    if ended is not None:
        rows = rows.filter(created_at__gt=ended.created_at)
    return [row.answer() for row in rows.select_related("session")]


def status(session: Session) -> str:
    """`session_status` of PROTOCOLS.md 3.6."""
    return statuses([session])[session.pk]


def statuses(sessions: list[Session]) -> dict[int, str]:
    """The `session_status` of each, by its key."""
    pending = ControlRequest.objects.filter(asker=Asker.WORKER, status=Status.PENDING)
    asked = set(pending.filter(session__in=sessions).values_list("session", flat=True))
    active = Run.objects.filter(status=Run.Status.RUNNING, session__in=sessions)
    running = set(active.values_list("session", flat=True))
    found = {}
    for one in sessions:
        open_ = "requires_action" if one.pk in asked else "running" if one.pk in running else "idle"
        found[one.pk] = open_ if one.archived_at is None else "archived"
    return found


def tell_status(session: Session) -> None:
    told = {"type": "session_status", "status": status(session)}
    tell_viewers(session, stamped(session, told))


def _tell_settled(row: ControlRequest, *, but: str = "") -> None:
    cancel = {"type": "control_cancel_request", "request_id": row.request_id}
    tell_viewers(row.session, stamped(row.session, cancel), but=but)


def _word(response: Frame) -> str:
    """For the journal: what was decided."""
    inner = response.get("response")
    behavior = inner.get("behavior") if isinstance(inner, dict) else None
    return {"allow": "allowed", "deny": "denied"}.get(str(behavior), "answered")
