"""A session's log: whatever is added to it is told to all who watch the session, in its order.

The session's row is locked from the number to the commit, so announcements come in the order of
`seq`. Source: PROTOCOLS.md 3.9.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction

from realtime.bus.announce import announce
from realtime.core import addresses
from realtime.core.events import SESSION_LOGGED, Event
from sessions_app.models import Run, Session, SessionEvent
from sessions_app.services import session_frames

# A longer frame is not carried by its announcement: who watches reads it from the log.
LARGEST_TOLD = 64 * 1024


@transaction.atomic(savepoint=False)
def append(
    session: Session,
    *,
    kind: str,
    content: str = "",
    author: str = "",
    data: dict[str, Any] | None = None,
    message_id: str | None = None,
    run: Run | None = None,
    event_uuid: str = "",
    work: dict[str, Any] | None = None,
) -> tuple[SessionEvent, int]:
    """Add the next event; it, and its announcement. With `work` it is for the worker.

    Raises IntegrityError for a message_id or uuid that the session has already.
    """
    event = session.append(
        kind=kind,
        content=content,
        author=author,
        data=data,
        message_id=message_id,
        run=run,
        event_uuid=event_uuid,
    )
    frame: Any = session_frames.stored(event, session)
    told = frame if session_frames.size(frame) <= LARGEST_TOLD else None
    fact = Event(SESSION_LOGGED, {"seq": event.seq, "frame": told})
    if work is not None:
        fact.data["work"] = work
    where = addresses.session(session.account.slug, session.public_id)
    return event, announce(where, fact)
