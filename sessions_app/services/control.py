"""Steering a session: what a viewer asks by `control_request`. Source: PROTOCOLS.md 3.4.

Answered once for each request id: who asks again, on whichever process, gets the same answer.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.models import QuerySet, Subquery
from django.db.models.functions import Now

from accounts.services import scopes
from realtime.core.errors import InvalidParams, ResourceExhausted
from realtime.core.principal import Principal
from sessions_app.models import ControlRequest, Session
from sessions_app.services import questions, runs, workers
from sessions_app.services import session_requests as requests
from sessions_app.services.fields import check_length
from sessions_app.services.ownership import named_session

Frame = dict[str, Any]

READING = {"initialize", "mcp_status"}  # what somebody may ask who only reads
MODEL_LENGTH = SETTING_LENGTH = 255
# What holds for a worker that comes later, too, and the field that says it.
LASTING = {"set_permission_mode": "mode", "set_max_thinking_tokens": "max_thinking_tokens"}
KEEP = dt.timedelta(days=7)  # how long an answer is given again,
KEEP_MOST = 1000  # and of how many requests of a session: the newest
MOST_WAITING = 100  # requests of a session that its worker has not answered


@transaction.atomic
def ask(
    *,
    principal: Principal,
    session_id: str,
    request_id: str,
    request: Frame,
    connection: str = "",
) -> dict[str, Any]:
    """The answer as `frame`, or None when the worker's will come to `connection`.

    Raises NotFound, NotOwner, RoleTooLow, InvalidParams, ResourceExhausted.
    """
    session = named_session(principal, session_id, lock=True)
    subtype = request["subtype"]
    if subtype not in READING:
        scopes.require_to_act(principal, "operator.write", subtype)
    asked = session.requests.filter(asker=ControlRequest.Asker.VIEWER)
    row = asked.filter(request_id=request_id).select_related("session__account").first()
    if row is not None:
        return _again(row, request, connection)
    _make_room(asked)
    row = ControlRequest.objects.create(
        session=session,
        asker=ControlRequest.Asker.VIEWER,
        request_id=request_id,
        request=request,
        connection=connection,
        asked_by=principal.id,
    )
    known, works = ANSWERS.get(subtype), bool(workers.holder(session))
    if known is not None:
        response = requests.success(known(session, request))
    elif not works:
        response = requests.error(f"Unsupported control request subtype: {subtype}")
    if works and subtype != "interrupt":  # that is asked of it where a run is stopped
        requests.tell_worker(session, row.frame())
        if known is None:
            _check_room(asked)
            return {"frame": None}
    requests.settle(row, response, by="")
    if not connection:
        requests.tell_asker(row)
    return {"frame": row.answer()}


@transaction.atomic
def cancel(*, principal: Principal, session_id: str, request_id: str) -> dict[str, Any]:
    """Take a request back that has not been answered. Raises NotFound, NotOwner, RoleTooLow."""
    session = named_session(principal, session_id, lock=True)
    scopes.require_to_act(principal, "operator.write", "control_cancel_request")
    pending = session.requests.filter(
        asker=ControlRequest.Asker.VIEWER,
        request_id=request_id,
        status=ControlRequest.Status.PENDING,
    )
    if pending.update(status=ControlRequest.Status.CANCELLED):
        told = {"type": "control_cancel_request", "request_id": request_id}
        requests.tell_worker(session, requests.stamped(session, told))
    return {}


def forget() -> int:
    """Delete what viewers asked long ago, of which nobody waits for an answer; how many."""
    old = ControlRequest.objects.filter(
        asker=ControlRequest.Asker.VIEWER, created_at__lt=Now() - KEEP
    )
    return old.exclude(status=ControlRequest.Status.PENDING).delete()[0]


def _make_room(asked: QuerySet[ControlRequest]) -> None:
    """For one more request in a session: who asks without end fills no database."""
    settled = asked.exclude(status=ControlRequest.Status.PENDING)
    too_old = settled.order_by("-pk")[KEEP_MOST - 1 :].values("pk")[:1]
    settled.filter(pk__lte=Subquery(too_old)).delete()


def _check_room(asked: QuerySet[ControlRequest]) -> None:
    """Raises ResourceExhausted when too many wait for a worker that does not answer."""
    if asked.filter(status=ControlRequest.Status.PENDING)[MOST_WAITING:].exists():
        raise ResourceExhausted(f"{MOST_WAITING} requests wait for the worker already")


def _again(row: ControlRequest, request: Frame, connection: str) -> dict[str, Any]:
    if row.request != request:
        refused = requests.error(f"request_id {row.request_id} has been used for another request")
        row.response = refused
        return {"frame": row.answer()}
    match row.status:
        case ControlRequest.Status.ANSWERED:
            return {"frame": row.answer()}
        case ControlRequest.Status.CANCELLED:
            row.response = requests.error("the request was cancelled")
            return {"frame": row.answer()}
        case _:  # the worker's answer is to come to where it is asked now
            ControlRequest.objects.filter(pk=row.pk).update(connection=connection)
            return {"frame": None}


# --- what is answered at once, with a worker or without ---


def _initialize(session: Session, request: Frame) -> Frame:
    return {
        "account": {},
        "available_output_styles": ["normal"],
        "commands": [],
        "models": [],
        "output_style": "normal",
        "pid": os.getpid(),
        "pending_permission_requests": questions.pending(session),
    }


def _interrupt(session: Session, request: Frame) -> Frame:
    """Whichever protocol began the run."""
    run = runs.active(session)
    if run is not None:
        runs.request_abort(run)
    else:
        requests.interrupt(session)
    return {}


def _set_model(session: Session, request: Frame) -> Frame:
    """Of whichever agent answers next; without a model: its own."""
    model = str(request.get("model") or "")
    check_length(model, "model", MODEL_LENGTH)
    Session.objects.filter(pk=session.pk).update(model=model)
    return {}


def _keep_setting(session: Session, request: Frame) -> Frame:
    """A worker that comes later is told as well; null is no setting."""
    subtype, name = request["subtype"], LASTING[request["subtype"]]
    value, kept = request.get(name), dict(session.context.get(requests.SET, {}))
    if not isinstance(value, str | int | None):
        raise InvalidParams(f"{name} takes a text or a number")
    check_length(str(value), name, SETTING_LENGTH)
    kept.pop(subtype, None)
    if value is not None:
        kept[subtype] = {name: value}
    context = {**session.context, requests.SET: kept}
    Session.objects.filter(pk=session.pk).update(context=context)
    return {}


def _passed_on(session: Session, request: Frame) -> Frame:
    return {}


ANSWERS: dict[str, Callable[[Session, Frame], Frame]] = {
    "initialize": _initialize,
    "interrupt": _interrupt,
    "end_session": _interrupt,
    "set_model": _set_model,
    "set_permission_mode": _keep_setting,
    "set_max_thinking_tokens": _keep_setting,
    "mcp_status": _passed_on,
}
