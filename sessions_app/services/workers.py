"""Workers: which socket serves a session, what it is to do, and what it says. PROTOCOLS.md 3, 6.

Whoever changes who works a session locks the session first: one lock order, no deadlocks.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now

from realtime.bus.announce import announce
from realtime.core.errors import Replaced
from realtime.core.events import SESSION_HELD, Event
from realtime.core.principal import Principal
from sessions_app.agents import WORKER
from sessions_app.models import ControlRequest, Presence, Run, Session, SessionEvent
from sessions_app.services import log, nodes, questions, run_events, runs, session_frames, viewing
from sessions_app.services import session_requests as requests
from sessions_app.services.ownership import named_session

logger = structlog.get_logger("gateway")

Frame = dict[str, Any]
Kind = SessionEvent.Kind

PROTOCOL, PART = "remote", "worker"  # as Presence names a worker's socket
GONE = "the worker has gone"
# What of a worker's frames is kept, if it has words and if not: 001 shows no message without any.
KINDS = {
    "assistant": (Kind.ASSISTANT, Kind.EVENT),
    "user": (Kind.USER, Kind.EVENT),
    "system": (Kind.EVENT, Kind.EVENT),
    "result": (Kind.RESULT, Kind.RESULT),
}


def holder(session: Session) -> str:
    """The process that has the socket of the session's worker; "" without one."""
    if not session.worker:
        return ""
    sockets = Presence.objects.filter(pk=session.worker, node__in=nodes.live())
    return sockets.values_list("node", flat=True).first() or ""


@transaction.atomic
def hold(
    *,
    principal: Principal,
    node: str,
    session_id: str,
    connection: str,
    replay: bool = False,
    after_id: str = "",
) -> dict[str, Any]:
    """`connection` serves the session from now on; the one before hears that it was replaced.

    It gets what no turn has answered yet, or what came after `after_id`; what viewers have set,
    and still wait for; the answers to its questions.
    Raises NotFound, NotOwner, Replaced (it comes too late).
    """
    session = named_session(principal, session_id, lock=True)
    if _is_held_by_a_newer(session, connection):
        raise Replaced
    session.worker, session.worker_left_at = connection, None
    session.save(update_fields=["worker", "worker_left_at"])
    announce(requests.place(session), Event(SESSION_HELD, {"connection": connection}))
    ended = _last_result(session)
    answered = _answered(ended)
    run = _resumed(session, node) or _begun(session, principal, node, answered)
    asked = session.requests.filter(asker=ControlRequest.Asker.VIEWER)
    waiting = asked.filter(status=ControlRequest.Status.PENDING).select_related("session")
    told = [*requests.lasting(session), *[row.frame() for row in waiting]]
    if run is not None and run.abort_requested_at is not None:  # while no worker was there
        told.append(requests.interruption(session))
    logger.info("session.worker", session=session.public_id, connection=connection)
    return {
        "seq": _begin_at(session, answered, replay=replay, after_id=after_id),
        "frames": [*told, *questions.answered_since_the_last_turn(session, ended)],
        "run": template(run, session),
    }


@transaction.atomic
def released(*, connection: str) -> None:
    """The socket has ended; without effect when a newer one serves the session already.

    A turn under way goes on when a worker is back within WORKER_GRACE_S.
    """
    rows = Session.objects.select_related("account").select_for_update(of=("self",))
    session = rows.filter(worker=connection).first()
    if session is None:
        return
    Session.objects.filter(pk=session.pk).update(worker="", worker_left_at=Now())
    requests.fail_pending(session, GONE)


@transaction.atomic
def say(
    *,
    principal: Principal,
    session_id: str,
    connection: str,
    frame: Frame,
    event_uuid: str = "",
    told: int = 0,
) -> dict[str, Any]:
    """What the session's worker says: kept and shown to who watches; the same uuid once.

    A `result` ends the turn; what the worker had not taken by then begins the next one. `told`: the
    number of the event that it had been told last. Raises NotFound, NotOwner, Replaced.
    """
    session = named_session(principal, session_id, lock=True)
    if session.worker != connection:
        raise Replaced
    run = _run(session)
    after = 0
    match frame["type"]:
        case "control_request":
            questions.ask(
                session,
                request_id=frame["request_id"],
                request=frame["request"],
                asked_by=principal.id,
            )
        case "control_cancel_request":
            questions.withdraw(session, frame["request_id"])
        case "control_response":
            _answer(session, principal, frame["response"])
        case _ if not event_uuid or not session.events.filter(uuid=event_uuid).exists():
            after = _keep(session, run, principal, frame, event_uuid, told)
    if frame["type"] == "result":
        answered = _answered(_last_result(session))
        run = _run(session) or _begun(session, principal, holder(session), answered)
    return {"after": after, "run": template(run, session)}


def sweep() -> int:
    """End the turns whose worker did not come back, or does not stop; how many.

    And answer what viewers have asked a worker that is gone.
    """
    working = Run.objects.filter(agent=WORKER, status=Run.Status.RUNNING)
    # Its process was silent for a moment only: the next silence has its own time.
    back = Session.objects.filter(_served(), pk__in=working.values("session"))
    back.exclude(worker_left_at=None).update(worker_left_at=None)
    orphaned = Session.objects.exclude(_served())
    left = orphaned.filter(worker_left_at=None, pk__in=working.values("session"))
    left.update(worker_left_at=Now())
    grace = Now() - dt.timedelta(seconds=settings.WORKER_GRACE_S)
    too_long = orphaned.filter(worker_left_at__lt=grace)
    stubborn = Q(abort_requested_at__lt=grace)
    found = working.filter(Q(session__in=too_long) | stubborn).values_list("pk", flat=True)
    ended = sum(runs.fail_worked(str(run), GONE) for run in list(found))
    unanswered = Q(requests__asker="viewer", requests__status=ControlRequest.Status.PENDING)
    for session in orphaned.filter(unanswered).distinct().select_related("account"):
        with transaction.atomic():
            requests.fail_pending(session, GONE)
    return ended


def _served() -> Exists:
    """Whether the session's worker is present in a living process."""
    return Exists(Presence.objects.filter(pk=OuterRef("worker"), node__in=nodes.live()))


def _is_held_by_a_newer(session: Session, connection: str) -> bool:
    """A process that stalls before a socket's hold must not undo a newer one's."""
    arrived = Presence.objects.filter(pk=connection).values("since")
    holders = Presence.objects.filter(pk=session.worker, node__in=nodes.live())
    return holders.filter(since__gt=Subquery(arrived)).exists()


def _run(session: Session) -> Run | None:
    """The worker's turn that is under way."""
    return session.runs.filter(status=Run.Status.RUNNING, agent=WORKER).first()


def _last_result(session: Session) -> SessionEvent | None:
    return session.events.filter(kind=Kind.RESULT).order_by("-seq").first()


def _answered(result: SessionEvent | None) -> int:
    """The number of the last event that the turns until this `result` are about."""
    return result.data.get("answered", result.seq) if result is not None else 0


def _taken(session: Session, run: Run | None, result: Frame, told: int) -> int | None:
    """Up to where a `result` is about what was said: the worker may name the last message that it
    has taken, else that is the last that it had been told. None: it is about all.
    """
    named = result.get("after_id")
    taken = viewing.number_of(session, named if isinstance(named, str) else "")
    if taken is not None or run is None:
        return taken
    meanwhile = run.events.filter(data__injected=True).order_by("seq")
    first = meanwhile.values_list("seq", flat=True).first()
    return max(told, first - 1) if first is not None else None


def _begin_at(session: Session, answered: int, *, replay: bool, after_id: str) -> int:
    seen = viewing.number_of(session, after_id)
    if seen is not None:
        return seen
    return 0 if replay else answered


def _resumed(session: Session, node: str) -> Run | None:
    """The turn that was under way when the last worker went: it is this one's now."""
    run = _run(session)
    if run is not None:
        run.node = node
        run.save(update_fields=["node"])
    return run


def _begun(session: Session, principal: Principal, node: str, answered: int) -> Run | None:
    """The turn of a message that has waited for a worker."""
    waiting = _waiting(session, answered).first()
    if waiting is None or session.runs.filter(status=Run.Status.RUNNING).exists():
        return None
    run = Run.objects.create(
        session=session,
        agent_id=session.agent,
        agent=WORKER,
        node=node,
        requested_by=waiting.author or principal.id,
        stream=True,
    )
    of = runs.facts(run, session)
    announce(runs.audience(of), runs.event(of, "run.started", {"message": waiting.content}))
    return run


def _waiting(session: Session, answered: int) -> QuerySet[SessionEvent]:
    return session.events.filter(seq__gt=answered, data__work=True).order_by("seq")


def _answer(session: Session, principal: Principal, response: Frame) -> None:
    """To what a viewer has asked; an answer to what was answered at once is of no use."""
    asked = session.requests.filter(asker=ControlRequest.Asker.VIEWER)
    row = asked.filter(request_id=response["request_id"]).first()
    if row is not None:
        row.session = session
        inner = {name: value for name, value in response.items() if name != "request_id"}
        if requests.settle(row, inner, by=principal.id):
            requests.tell_asker(row)


def _keep(
    session: Session,
    run: Run | None,
    principal: Principal,
    frame: Frame,
    event_uuid: str,
    told: int,
) -> int:
    words = session_frames.text_of(frame)
    data: Frame = {"frame": session_frames.bare(frame)}
    taken = _taken(session, run, frame, told) if frame["type"] == "result" else None
    if taken is not None:
        data["answered"] = taken
    with_words, without = KINDS[frame["type"]]
    _, after = log.append(
        session,
        kind=with_words if words else without,
        content=words,
        author=WORKER if frame["type"] == "assistant" else principal.id,
        data=data,
        run=run,
        event_uuid=event_uuid,
    )
    if frame["type"] == "result" and run is not None:
        runs.end_worked(run, session, frame)
    elif frame["type"] == "result":
        questions.withdraw(session)
    return after


def template(run: Run | None, session: Session) -> Frame | None:
    """What 001's events of the turn repeat, for the process that has the worker's socket."""
    if run is None:
        return None
    of = runs.facts(run, session)
    return run_events.event(of, "", {}).data | {"_stream": of.stream, "_account": of.account}
