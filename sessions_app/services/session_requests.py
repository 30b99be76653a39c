"""What is said past the log: to a session's worker, to its viewers, to whoever asked something."""

from __future__ import annotations

from typing import Any

from django.db.models.functions import Now
from django.utils import timezone

from realtime.bus.announce import announce
from realtime.core import addresses
from realtime.core.addresses import Address
from realtime.core.events import SESSION_ANSWER, SESSION_SAID, SESSION_WORK, Event
from sessions_app.models import ControlRequest, Session, new_uuid
from sessions_app.moments import rfc3339

Frame = dict[str, Any]

SET = "set"  # in a session's context: what viewers have set, by subtype


def place(session: Session) -> Address:
    """Where all who watch or work a session are."""
    return addresses.session(session.account.slug, session.public_id)


def stamped(session: Session, frame: Frame) -> Frame:
    """A frame of ours, with what every frame has."""
    about = {"session_id": session.public_id, "created_at": rfc3339(timezone.now())}
    return {**frame, "uuid": new_uuid(), **about}


def tell_worker(session: Session, frame: Frame) -> None:
    announce(place(session), Event(SESSION_WORK, {"frame": frame}))


def tell_viewers(session: Session, frame: Frame, *, but: str = "") -> None:
    """All of them, except the connection `but`."""
    announce(place(session), Event(SESSION_SAID, {"frame": frame, "but": but}))


def interruption(session: Session) -> Frame:
    return _asked(session, {"subtype": "interrupt"})


def lasting(session: Session) -> list[Frame]:
    """What viewers have set, for a worker that comes after."""
    kept = sorted(session.context.get(SET, {}).items())
    wanted = [{"subtype": name, **one} for name, one in kept]
    if session.model:
        wanted.insert(0, {"subtype": "set_model", "model": session.model})
    return [_asked(session, request) for request in wanted]


def _asked(session: Session, request: Frame) -> Frame:
    """A request of ours to the worker; its answer is of no use."""
    asked = {"type": "control_request", "request_id": new_uuid()}
    return stamped(session, {**asked, "request": request})


def interrupt(session: Session) -> None:
    """Ask the worker to stop what it is doing."""
    tell_worker(session, interruption(session))


def success(response: Any) -> Frame:
    return {"subtype": "success", "response": response}


def error(text: str) -> Frame:
    return {"subtype": "error", "error": text}


def settle(row: ControlRequest, response: Frame, *, by: str) -> bool:
    """Answer a pending request; False when somebody has, or it was cancelled."""
    pending = ControlRequest.objects.filter(pk=row.pk, status=ControlRequest.Status.PENDING)
    answered = ControlRequest.Status.ANSWERED
    settled = pending.update(status=answered, response=response, decided_by=by, decided_at=Now())
    if settled:
        row.refresh_from_db(fields=["status", "response", "decided_by", "decided_at"])
    return bool(settled)


def tell_asker(row: ControlRequest) -> None:
    """The answer to a viewer's request: to its socket or, asked over HTTP, to all viewers."""
    if row.connection:
        told = Event(SESSION_ANSWER, {"frame": row.answer()})
        announce(addresses.connection(row.connection), told)
    else:
        tell_viewers(row.session, row.answer())


def fail_pending(session: Session, reason: str) -> None:
    """What viewers have asked a worker that will not answer."""
    asked = session.requests.filter(asker=ControlRequest.Asker.VIEWER)
    for row in asked.filter(status=ControlRequest.Status.PENDING):
        row.session = session
        if settle(row, error(reason), by=""):
            tell_asker(row)
