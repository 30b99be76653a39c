"""Sessions as things: list, look into, change, empty, delete. Source: PROTOCOLS.md 2.8."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Count, F, Q, QuerySet

from realtime.bus.announce import announce
from realtime.core import addresses
from realtime.core.errors import Conflict, InvalidParams
from realtime.core.events import SESSION_GONE, Event
from realtime.core.principal import Principal
from sessions_app.models import Session, SessionEvent
from sessions_app.moments import rfc3339
from sessions_app.services import agent_choice, runs
from sessions_app.services.chat import HISTORY_MESSAGES
from sessions_app.services.compaction import FIELDS as COMPACTION
from sessions_app.services.fields import KEY_LENGTH, NAME_LENGTH, check_length, require
from sessions_app.services.ownership import open_session, owned_session
from sessions_app.services.run_events import tell_label

MAX_LIMIT = 200
TEXT_LENGTH = 255  # of label, model and a metadata name
METADATA_ENTRIES = 64
METADATA_VALUE_LENGTH = 4096
NO_MESSAGES = (SessionEvent.Kind.RESULT, SessionEvent.Kind.EVENT)


def visible(principal: Principal) -> QuerySet[Session]:
    """What a caller may see: their own sessions, an administrator all of the account."""
    rows = Session.objects.filter(account__slug=principal.account)
    return rows if principal.is_admin else rows.filter(owner=principal.id)


@transaction.atomic
def create(*, principal: Principal, key: str, agent: str) -> Session:
    """A new session of the caller. Raises Conflict if the key is taken, NotFound (agent)."""
    require(principal.id, "user_id")
    require(key, "key")
    check_length(principal.id, "user_id", NAME_LENGTH)
    check_length(key, "key", KEY_LENGTH)
    agent_choice.resolve(agent)
    if Session.objects.filter(account__slug=principal.account, key=key).exists():
        raise Conflict(f"session exists already: {key}")
    return open_session(principal=principal, key=key, agent=agent)


def list_(
    *,
    principal: Principal,
    agent_id: str = "",
    channel: str = "",
    limit: int = 20,
    offset: int = 0,
) -> dict[str, Any]:
    """The sessions that the caller may see, last used first; `limit` is held within 1..200."""
    limit = min(max(limit, 1), MAX_LIMIT)
    offset = max(offset, 0)
    rows = visible(principal)
    if agent_id:
        rows = rows.filter(agent__in=agent_choice.synonyms(agent_id))
    if channel:
        rows = rows.filter(channel=channel)
    in_conversation = Q(events__seq__gt=F("compacted_seq")) & ~Q(events__kind__in=NO_MESSAGES)
    messages = Count("events", filter=in_conversation)
    page = rows.annotate(message_count=messages).order_by("-updated_at", "-pk")
    return {
        "sessions": [
            _summary(session, session.message_count) for session in page[offset : offset + limit]
        ],
        "total": rows.count(),
        "limit": limit,
        "offset": offset,
    }


def preview(*, principal: Principal, key: str) -> dict[str, Any]:
    """A session's messages, and what lies before them if it has been compacted."""
    require(key, "key")
    session = owned_session(principal, key)
    messages = session.messages(HISTORY_MESSAGES)
    return {"key": key, "messages": messages, "summary": session.summary}


@transaction.atomic
def patch(
    *,
    principal: Principal,
    key: str,
    label: str | None = None,
    model: str | None = None,
    metadata: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Change what is given; metadata is merged by name. A new label is announced."""
    require(key, "key")
    session = owned_session(principal, key, lock=True)
    if label is not None:
        check_length(label, "label", TEXT_LENGTH)
        session.label = label
    if model is not None:
        check_length(model, "model", TEXT_LENGTH)
        session.model = model
    if metadata is not None:
        session.metadata = _merged(session.metadata, metadata)
    session.save(update_fields=["label", "model", "metadata", "updated_at"])
    if label is not None:
        tell_label(session)
    return {"ok": True, "key": key}


@transaction.atomic
def delete(*, principal: Principal, key: str) -> dict[str, Any]:
    """Delete a session with everything in it; an active run is cancelled first."""
    require(key, "key")
    session = owned_session(principal, key, lock=True)
    announce(addresses.session(session.account.slug, session.public_id), Event(SESSION_GONE))
    runs.stop(session)
    session.delete()
    return {"ok": True}


@transaction.atomic
def reset(*, principal: Principal, key: str) -> dict[str, Any]:
    """Empty a session; an active run is cancelled first.

    Numbering goes on, so that a position once read never means another event.
    """
    require(key, "key")
    session = owned_session(principal, key, lock=True)
    runs.stop(session)
    session.events.all().delete()
    session.runs.all().delete()
    session.compacted_seq, session.compactions, session.summary = 0, 0, ""
    session.save(update_fields=[*COMPACTION, "updated_at"])
    return {"ok": True}


def _merged(old: dict[str, str], new: dict[str, str]) -> dict[str, str]:
    for name, value in new.items():
        check_length(name, "metadata name", TEXT_LENGTH)
        check_length(value, "metadata value", METADATA_VALUE_LENGTH)
    merged = old | new
    if len(merged) > METADATA_ENTRIES:
        raise InvalidParams(f"metadata has more than {METADATA_ENTRIES} entries")
    return merged


def _summary(session: Session, message_count: int) -> dict[str, Any]:
    """One row of `sessions.list`; keys without a value are absent."""
    row: dict[str, Any] = {
        "key": session.key,
        "messageCount": message_count,
        "created": rfc3339(session.created_at),
        "updated": rfc3339(session.updated_at),
        "channel": session.channel,
        "userID": session.owner,
        "agentName": session.agent,
    }
    optional = {
        "label": session.label,
        "model": session.model,
        "metadata": session.metadata,
        "compactionCount": session.compactions,
    }
    return row | {name: value for name, value in optional.items() if value}
