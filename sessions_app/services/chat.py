"""The five chat verbs; `send` has a module of its own. Source: PROTOCOLS.md 2.7."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import transaction

from realtime.core.principal import Principal
from sessions_app.models import Run, SessionEvent
from sessions_app.services import log, runs
from sessions_app.services.fields import require
from sessions_app.services.ownership import owned_session
from sessions_app.services.sending import send
from sessions_app.services.sent import Sent

__all__ = ["Sent", "abort", "history", "inject", "send", "status"]

HISTORY_MESSAGES = 1000  # newest that one answer holds
LABEL_LENGTH = 100


def history(*, principal: Principal, session_key: str) -> dict[str, Any]:
    """The session's newest messages, oldest first; an empty key has none."""
    if not session_key:
        return {"messages": []}
    session = owned_session(principal, session_key)
    return {"messages": session.messages(HISTORY_MESSAGES)}


@transaction.atomic
def inject(
    *, principal: Principal, session_key: str, message: str, label: str = ""
) -> dict[str, Any]:
    """Store a message as if the assistant had said it; starts no run."""
    require(session_key, "sessionKey")
    require(message.strip(), "message")
    session = owned_session(principal, session_key, lock=True)
    label = label.strip()[:LABEL_LENGTH]
    event, _ = log.append(
        session,
        kind=SessionEvent.Kind.ASSISTANT,
        author=principal.id,
        content=f"[{label}]\n\n{message}" if label else message,
        data={"injected": True},
    )
    return {"ok": True, "messageId": event.uuid}


@transaction.atomic
def abort(*, principal: Principal, session_key: str = "", run_id: str = "") -> dict[str, Any]:
    """Ask the active run of a session to stop.

    Administrators may name only the run. A run that is not in the session looks as if it did not
    exist. Raises InvalidParams, NotFound (session), NotOwner.
    """
    if not session_key and run_id and principal.is_admin:
        session_key = _key_of_run(principal, run_id)
        if not session_key:
            return _aborted(not_found=True)
    require(session_key, "sessionKey")
    session = owned_session(principal, session_key, lock=True)
    run = runs.active(session)
    if run is None or (run_id and run_id != str(run.pk)):
        return _aborted(not_found=True)
    asked = runs.request_abort(run)
    return _aborted(asked=asked, already=not asked, run_ids=[str(run.pk)])


def status(*, principal: Principal, session_key: str) -> dict[str, Any]:
    """Whether a run is under way; `activity` is null without one."""
    require(session_key, "sessionKey")
    session = owned_session(principal, session_key)
    run = session.runs.filter(status=Run.Status.RUNNING).first()
    if run is None:
        return {"isRunning": False, "runId": "", "activity": None}
    phase = "stopping" if run.abort_requested_at else "thinking"
    activity = {"phase": phase, "tool": "", "iteration": 0}
    return {"isRunning": True, "runId": str(run.pk), "activity": activity}


def _key_of_run(principal: Principal, run_id: str) -> str:
    try:
        pk = uuid.UUID(run_id)
    except ValueError:
        return ""
    run = Run.objects.filter(pk=pk, session__account__slug=principal.account)
    return run.values_list("session__key", flat=True).first() or ""


def _aborted(
    *,
    asked: bool = False,
    already: bool = False,
    not_found: bool = False,
    run_ids: list[str] | None = None,
) -> dict[str, Any]:
    """The answer of PROTOCOLS.md 2.7. Nothing is forced: a run stops at its next await."""
    return {
        "ok": True,
        "aborted": asked,
        "stopped": asked,
        "forced": False,
        "alreadyAborting": already,
        "notFound": not_found,
        "unauthorized": False,
        "runIds": run_ids or [],
    }
