"""Sessions as 002 has them over HTTP: list, create, read, rename, archive. PROTOCOLS.md 3.6."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from accounts.models import Account
from accounts.services import scopes
from realtime.core.errors import Conflict, InvalidParams
from realtime.core.principal import Principal
from sessions_app.models import Session
from sessions_app.models.sessions import new_public_id
from sessions_app.moments import rfc3339
from sessions_app.services import agent_choice, questions, sessions, talking, viewing
from sessions_app.services.fields import check_length, require
from sessions_app.services.ownership import shown_session
from sessions_app.services.run_events import tell_label
from sessions_app.services.session_requests import Frame

MOST = 100  # of one page of sessions
ARCHIVED, OPEN = "archived", ("idle", "running", "requires_action", "active")
ENVIRONMENT = "env_default"


def list_(
    *, principal: Principal, limit: int = 20, before: str = "", after_id: str = ""
) -> dict[str, Any]:
    """Newest first: those that follow `after_id`, or come before the session or moment `before`.

    Raises InvalidParams.
    """
    rows = sessions.visible(principal).select_related("account").order_by("-created_at", "-pk")
    if after_id:
        rows = rows.filter(_older(_named(rows, after_id, "after_id")))
    if before:
        rows = _before(rows, before)
    limit = min(max(limit, 1), MOST)
    found = list(rows[: limit + 1])
    statuses = questions.statuses(found)
    shown = [_shown(row, statuses[row.pk]) for row in found[:limit]]
    return page(shown, "id", more=len(found) > limit)


def read(*, principal: Principal, session_id: str) -> Frame:
    """Raises NotFound."""
    return _shown(shown_session(principal, session_id))


@transaction.atomic
def create(
    *,
    principal: Principal,
    title: str = "",
    agent: str = "",
    environment_id: str = "",
    session_context: Frame | None = None,
    events: list[Frame] | None = None,
) -> Frame:
    """A new session of the caller, and what is said in it first.

    Raises InvalidParams, NotFound (agent), RoleTooLow, Unavailable.
    """
    scopes.require_to_act(principal, "operator.write", "creating a session")
    require(principal.id, "user_id")
    check_length(title, "title", sessions.TEXT_LENGTH)
    context = session_context or {}
    model = context.get("model")
    public_id = new_public_id()
    agent = agent or settings.DEFAULT_AGENT
    agent_choice.resolve(agent)
    session = Session.objects.create(
        account=Account.objects.get(slug=principal.account),
        public_id=public_id,
        key=public_id,
        owner=principal.id,
        agent=agent,
        label=title,
        model=model[: sessions.TEXT_LENGTH] if isinstance(model, str) else "",
        context={"environment_id": environment_id or ENVIRONMENT, "session_context": context},
    )
    talking.take(principal=principal, session_id=public_id, said=events or [])
    session.refresh_from_db()
    return _shown(session)


@transaction.atomic
def change(
    *,
    principal: Principal,
    session_id: str,
    title: str | None = None,
    session_status: str | None = None,
) -> Frame:
    """Rename, archive, or take back out of the archive. Raises InvalidParams, NotFound."""
    session = shown_session(principal, session_id, lock=True)
    scopes.require_to_act(principal, "operator.write", "changing a session")
    if session_status is not None and session_status not in (ARCHIVED, *OPEN):
        raise InvalidParams(f"session_status takes {', '.join((ARCHIVED, *OPEN))}")
    if title is not None:
        check_length(title, "title", sessions.TEXT_LENGTH)
        session.label = title
        session.save(update_fields=["label", "updated_at"])
        tell_label(session)
    if session_status is not None:
        _archive(session, archived=session_status == ARCHIVED)
    return _shown(session)


@transaction.atomic
def archive(*, principal: Principal, session_id: str) -> Frame:
    """Raises Conflict when it is archived already, NotFound."""
    session = shown_session(principal, session_id, lock=True)
    scopes.require_to_act(principal, "operator.write", "archiving a session")
    if session.archived_at is not None:
        raise Conflict("the session is archived already")
    _archive(session, archived=True)
    return _shown(session)


def events(
    *, principal: Principal, session_id: str, after_id: str = "", limit: int = viewing.PAGE_EVENTS
) -> dict[str, Any]:
    """A page of the log, oldest first; after an event that there is not: from the beginning.

    Raises NotFound.
    """
    session = shown_session(principal, session_id)
    after = viewing.number_of(session, after_id) or 0
    found = viewing.read(principal=principal, session_id=session.public_id, after_seq=after)
    frames = [frame for _, frame in found["events"]]
    kept = frames[: max(limit, 1)]
    return page(kept, "uuid", more=found["more"] or len(kept) < len(frames))


def page(rows: list[Frame], key: str, *, more: bool = False) -> dict[str, Any]:
    return {
        "data": rows,
        "has_more": more,
        "first_id": rows[0][key] if rows else None,
        "last_id": rows[-1][key] if rows else None,
    }


def environments() -> list[Frame]:
    """There is one: this server."""
    return [{"environment_id": ENVIRONMENT, "name": "Default", "kind": "local", "state": "active"}]


def _archive(session: Session, *, archived: bool) -> None:
    if archived != (session.archived_at is not None):
        session.archived_at = timezone.now() if archived else None
        session.save(update_fields=["archived_at", "updated_at"])
        questions.tell_status(session)


def _named(rows: QuerySet[Session], name: str, what: str) -> Session:
    row = None
    if "\x00" not in name:  # no database could look for that
        row = rows.filter(public_id=name).first() or rows.filter(key=name).first()
    if row is None:
        raise InvalidParams(f"{what}: no such session")
    return row


def _older(row: Session) -> Q:
    return Q(created_at__lt=row.created_at) | Q(created_at=row.created_at, pk__lt=row.pk)


def _before(rows: QuerySet[Session], before: str) -> QuerySet[Session]:
    """`before` is a moment, or a session as a page's `last_id` names it."""
    try:
        moment = parse_datetime(before)
    except ValueError:
        moment = None
    if moment is None:
        return rows.filter(_older(_named(rows, before, "before")))
    if not timezone.is_aware(moment):
        moment = moment.replace(tzinfo=dt.UTC)
    try:
        return rows.filter(created_at__lt=moment.astimezone(dt.UTC))
    except OverflowError:
        raise InvalidParams("before: no such moment") from None


def _shown(session: Session, status: str = "") -> Frame:
    """The Session of 3.6; `status` is its own, where it is known already."""
    return {
        "id": session.public_id,
        "title": session.label,
        "type": "internal_session",
        "session_status": status or questions.status(session),
        "environment_id": session.context.get("environment_id", ENVIRONMENT),
        "created_at": rfc3339(session.created_at),
        "updated_at": rfc3339(session.updated_at),
        "session_context": {
            "sources": [],
            "outcomes": [],
            "model": session.model,
            **session.context.get("session_context", {}),
        },
        "metadata": session.metadata,
        "active_mount_paths": [],
    }
