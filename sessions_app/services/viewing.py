"""Watching a session: where a viewer begins, and the events from there. PROTOCOLS.md 3.9, 6."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from realtime.core.principal import Principal
from sessions_app.models import Session
from sessions_app.services import session_frames
from sessions_app.services.ownership import named_session

PAGE_EVENTS = 500
FETCHED = 8  # at once: an event may be of a megabyte, and a page ends with the first of those
PAGE_CHARACTERS = 256 * 1024  # a page with one longer event holds that one alone


def watch(
    *, principal: Principal, session_id: str, replay: bool = False, after_id: str = ""
) -> dict[str, Any]:
    """The session's public id, and the number of the event that the viewer has seen last.

    Raises NotFound, NotOwner.
    """
    session = named_session(principal, session_id)
    return {
        "session_id": session.public_id,
        "account": session.account.slug,
        "seq": begin_at(session, replay=replay, after_id=after_id),
    }


def begin_at(session: Session, *, replay: bool, after_id: str) -> int:
    """An `after_id` that the session does not have replays as much as `replay`."""
    seen = number_of(session, after_id)
    if seen is not None:
        return seen
    if after_id or replay:
        return max(0, session.last_seq - settings.SESSION_REPLAY_MAX)
    return session.last_seq


def number_of(session: Session, event_uuid: str) -> int | None:
    """The `seq` of an event; None for a uuid that the session does not have."""
    if not event_uuid or "\x00" in event_uuid:  # no database could look for that
        return None
    return session.events.filter(uuid=event_uuid).values_list("seq", flat=True).first()


def read(
    *, principal: Principal, session_id: str, after_seq: int, work: bool = False
) -> dict[str, Any]:
    """A page of the log: `events` as [number, frame], whole up to number `to`.

    `work`: only what is for the session's worker.

    Raises NotFound, NotOwner.
    """
    session = named_session(principal, session_id)  # first: all up to its `last_seq` is there
    rows = session.events.filter(seq__gt=after_seq, seq__lte=session.last_seq).order_by("seq")
    if work:
        rows = rows.filter(data__work=True)
    events: list[list[Any]] = []
    room = PAGE_CHARACTERS
    for event in rows[:PAGE_EVENTS].iterator(chunk_size=FETCHED):
        frame = session_frames.stored(event, session)
        room -= session_frames.size(frame)
        if room < 0 and events:
            return {"events": events, "to": events[-1][0], "more": True}
        events.append([event.seq, frame])
    more = len(events) == PAGE_EVENTS
    return {"events": events, "to": events[-1][0] if more else session.last_seq, "more": more}
