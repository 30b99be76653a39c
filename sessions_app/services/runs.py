"""The life of a run: one conditional update ends it, and everyone hears of it in order.

Whoever changes a run locks its session first: one lock order, no deadlocks.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections.abc import Collection
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Max, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from realtime.bus.announce import announce
from realtime.core import addresses
from realtime.core.events import Event
from realtime.models import Announcement
from sessions_app.agents import WORKER
from sessions_app.agents.base import Retrying, no_usage
from sessions_app.models import Run, Session, SessionEvent, new_uuid
from sessions_app.moments import rfc3339
from sessions_app.services import log, nodes, questions, session_frames, session_requests
from sessions_app.services.run_events import RunFacts, audience, event, facts, tell_label
from sessions_app.services.sent import Sent

__all__ = [
    "ABORT",
    "BEGIN",
    "INJECT",
    "RunFacts",
    "active",
    "audience",
    "begin",
    "chunk",
    "end_worked",
    "event",
    "facts",
    "fail_orphans",
    "fail_strays",
    "fail_worked",
    "finish",
    "hand_over",
    "handed_over",
    "request_abort",
    "result",
    "retrying",
    "stop",
]

logger = structlog.get_logger("gateway")

INJECT = "run.inject"  # to the run's node: {"run": id, "text": str}
ABORT = "run.abort"  # to the run's node: {"run": id}
BEGIN = "run.begin"  # to the run's node: what `handed_over` says of it
TITLE_LENGTH = 60
ENDS = (Run.Status.COMPLETED, Run.Status.FAILED, Run.Status.CANCELLED)
TURN_MESSAGES = 200  # newest that an agent is given
PROCESS_ENDED = "the server process ended"
STRAY_AFTER = dt.timedelta(seconds=30)
# What an asker is told whose run was deleted together with its session.
GONE: dict[str, Any] = {"cancelled": True}


def active(session: Session) -> Run | None:
    """The running run of a locked session; one whose process is gone is ended on the spot."""
    run = session.runs.filter(status=Run.Status.RUNNING).first()
    if run is None or run.agent == WORKER or nodes.is_live(run.node):
        return run
    _close_orphan(run, session)
    return None


def request_abort(run: Run) -> bool:
    """Ask the run's process to stop it; False when that has been asked before."""
    asked = Run.objects.filter(
        pk=run.pk, status=Run.Status.RUNNING, abort_requested_at__isnull=True
    ).update(abort_requested_at=Now())
    if asked:
        _stop(run, run.session)
    return bool(asked)


def hand_over(sent: Sent, node: str) -> None:
    """Let the process that a started run was made for take it: for who is no process of runs."""
    if sent.run is not None:
        told: dict[str, Any] = {"facts": dataclasses.asdict(sent.run), "message": sent.message}
        told |= {"model": sent.model, "after": sent.started_announcement}
        announce(addresses.node(node), Event(BEGIN, told))


def handed_over(told: dict[str, Any]) -> Sent:
    """The run that a process has been told to begin."""
    run = RunFacts(**told["facts"])
    return Sent(
        outcome="started",
        session_key=run.session_key,
        agent_id=run.agent_id,
        run=run,
        started_announcement=told["after"],
        message=told["message"],
        model=told["model"],
    )


def begin(*, run_id: str) -> tuple[list[dict[str, Any]], bool]:
    """What an agent needs to start: the newest messages before its run, oldest first, and whether
    the run has been asked to stop already.
    """
    run = Run.objects.filter(pk=run_id).first()
    if run is None or run.status != Run.Status.RUNNING:
        return [], True
    first = SessionEvent.objects.filter(run=run).order_by("seq").first()
    messages = first.session.messages(TURN_MESSAGES, before_seq=first.seq) if first else []
    return messages, run.abort_requested_at is not None


def chunk(sent: Sent, content: str) -> Event:
    """A piece of a started run's answer."""
    return _meanwhile(sent, "chunk", {"content": content})


def retrying(sent: Sent, again: Retrying) -> Event:
    """A started run's agent begins again."""
    payload = {"attempt": again.attempt, "maxAttempts": again.most}
    return _meanwhile(sent, "run.retrying", payload)


def _meanwhile(sent: Sent, kind: str, payload: dict[str, Any]) -> Event:
    """What is told and not stored; what begins with `_` is for 002, and not shown in 001."""
    if sent.run is None:
        raise ValueError("no run has been started")
    told = event(sent.run, kind, payload, after=sent.started_announcement)
    told.data |= {"_uuid": new_uuid(), "_at": rfc3339(timezone.now())}
    return told


@transaction.atomic
def finish(
    *,
    run_id: str,
    status: str,
    content: str = "",
    usage: dict[str, int] | None = None,
    error: str = "",
) -> tuple[int, dict[str, Any]]:
    """End a run, unless somebody has already: only the first outcome counts.

    Returns an announcement that the answer to `chat.send` must follow, and that answer, or
    `{"error": text}` for a failed run.
    """
    if status not in ENDS:
        raise ValueError(f"not an end of a run: {status}")
    session = _locked_session_of(run_id)
    run = Run.objects.filter(pk=run_id).first()
    if session is None or run is None:
        return _newest_announcement(), GONE
    told = _close(run, session, status, content=content, usage=usage, error=error)
    if told:
        _store_answer(run, session)
        _store_result(run, session)
        _give_title(run, session)
    return told or _newest_announcement(), run.answer() or GONE


def result(*, run_id: str) -> dict[str, Any] | None:
    """The answer of a run (see `finish`); None while it is running."""
    run = Run.objects.filter(pk=run_id).first()
    return run.answer() if run is not None else GONE


@transaction.atomic
def stop(session: Session) -> None:
    """End the active run of a locked session as cancelled, storing nothing."""
    run = session.runs.filter(status=Run.Status.RUNNING).first()
    if run is None:
        return
    _close(run, session, Run.Status.CANCELLED)
    # After `run.cancelled`, so that the asker's answer comes last.
    _stop(run, session)


def _stop(run: Run, session: Session) -> None:
    """Tell whoever does the work."""
    if run.agent == WORKER:
        session_requests.interrupt(session)
    else:
        announce(addresses.node(run.node), Event(ABORT, {"run": str(run.pk)}))


def end_worked(run: Run, session: Session, result: dict[str, Any]) -> None:
    """The worker of a locked session has said how its turn ended; what it said is stored."""
    good, words = not result.get("is_error"), result.get("result")
    if not isinstance(words, str) or not words:
        spoken = run.events.filter(kind=SessionEvent.Kind.ASSISTANT).order_by("-seq")
        words = spoken.values_list("content", flat=True).first() or ""
    failed = Run.Status.COMPLETED if good else Run.Status.FAILED
    _close(
        run,
        session,
        Run.Status.CANCELLED if run.abort_requested_at else failed,
        content=words,
        usage=session_frames.counted(result.get("usage")),
        error="" if good else words or str(result.get("subtype")),
    )
    _give_title(run, session)


@transaction.atomic
def fail_worked(run_id: str, reason: str) -> bool:
    """End a turn whose worker is gone, or does not stop though asked to."""
    session = _locked_session_of(run_id)
    run = Run.objects.filter(pk=run_id).first()
    if session is None or run is None:
        return False
    status = Run.Status.CANCELLED if run.abort_requested_at else Run.Status.FAILED
    if not _close(run, session, status, error=reason):
        return False
    _store_result(run, session)
    _give_title(run, session)
    return True


def fail_orphans() -> int:
    """End the runs whose process has lost its lease; how many."""
    running = _run_here().exclude(node__in=nodes.live())
    return sum(_fail_orphan(run_id) for run_id in running.values_list("pk", flat=True))


def fail_strays(*, node: str, active: Collection[str]) -> int:
    """End the runs that stand as running on `node`, which is not at work on them; how many.

    A commit may have reached the database though its answer did not reach the process. Young runs
    are left alone: they may be just about to start.
    """
    strays = _run_here().filter(node=node, started_at__lt=Now() - STRAY_AFTER)
    strays = strays.exclude(pk__in=active)
    return sum(_fail_orphan(run_id) for run_id in strays.values_list("pk", flat=True))


def _run_here() -> QuerySet[Run]:
    """The active runs that processes of ours are at work on."""
    return Run.objects.filter(status=Run.Status.RUNNING).exclude(agent=WORKER)


@transaction.atomic
def _fail_orphan(run_id: uuid.UUID) -> bool:
    session = _locked_session_of(str(run_id))
    run = Run.objects.filter(pk=run_id).first()
    return session is not None and run is not None and _close_orphan(run, session)


def _close_orphan(run: Run, session: Session) -> bool:
    if not _close(run, session, Run.Status.FAILED, error=PROCESS_ENDED):
        return False
    _store_result(run, session)
    _give_title(run, session)
    return True


def _locked_session_of(run_id: str) -> Session | None:
    sessions = Session.objects.select_related("account").select_for_update(of=("self",))
    return sessions.filter(runs__pk=run_id).first()


def _close(
    run: Run,
    session: Session,
    status: str,
    *,
    content: str = "",
    usage: dict[str, int] | None = None,
    error: str = "",
) -> int:
    """Turn running into `status` and announce it; the announcement, 0 if it had ended before."""
    changed = Run.objects.filter(pk=run.pk, status=Run.Status.RUNNING).update(
        status=status,
        content=content,
        usage=no_usage() | (usage or {}),
        error=error,
        finished_at=Now(),
    )
    run.refresh_from_db()
    if not changed:
        return 0
    payload: dict[str, Any] = {}
    if status == Run.Status.COMPLETED:
        payload = {"content": run.content, "usage": run.usage}
    elif status == Run.Status.FAILED:
        payload = {"error": run.error}
    if run.agent == WORKER:
        questions.withdraw(session)
    of = facts(run, session)
    logger.info("run.ended", run=of.id, status=status, agent=of.agent, account=of.account)
    return announce(audience(of), event(of, f"run.{status}", payload))


def _store_answer(run: Run, session: Session) -> None:
    """What was said stays, also what an abort or a failure cut short."""
    data: dict[str, Any] = {"usage": run.usage}
    if run.status != Run.Status.COMPLETED:
        if not run.content:
            return
        data |= {"partial": True}
    log.append(
        session,
        kind=SessionEvent.Kind.ASSISTANT,
        author=run.agent,
        content=run.content,
        data=data,
        run=run,
    )


def _store_result(run: Run, session: Session) -> None:
    """For 002: the turn is over, whichever agent it was and however it ended."""
    frame = session_frames.result(run)
    log.append(
        session, kind=SessionEvent.Kind.RESULT, author=run.agent, data={"frame": frame}, run=run
    )


def _give_title(run: Run, session: Session) -> None:
    """After the first run the session is called after its first message."""
    if session.label or session.runs.exclude(pk=run.pk).exists():
        return
    first = session.events.filter(kind=SessionEvent.Kind.USER).order_by("seq").first()
    title = " ".join(first.content.split())[:TITLE_LENGTH].rstrip() if first else ""
    if title:
        Session.objects.filter(pk=session.pk).update(label=title)
        session.label = title
        tell_label(session)


def _newest_announcement() -> int:
    """What told of an end that somebody else brought about is this one or older."""
    return Announcement.objects.aggregate(newest=Max("id"))["newest"] or 0
