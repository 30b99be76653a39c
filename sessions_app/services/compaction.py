"""`sessions.compact`: a conversation goes on from its last messages. Source: PROTOCOLS.md 2.8."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Count, Max, Min

from realtime.core.errors import InvalidParams
from realtime.core.principal import Principal
from sessions_app.models import IS_MESSAGE, Run, Session, SessionEvent
from sessions_app.moments import rfc3339
from sessions_app.services import log
from sessions_app.services.fields import require
from sessions_app.services.ownership import owned_session

COMPACT_FROM = 6  # messages; a shorter session is left alone
KEEP_MOST = 200
FIELDS = ("compacted_seq", "compactions", "summary")


@transaction.atomic
def compact(*, principal: Principal, key: str, keep_last: int = 4) -> dict[str, Any]:
    """Let the conversation begin with its last messages; nothing is deleted.

    What an active run is about stays, however little is to be kept. Raises InvalidParams.
    """
    require(key, "key")
    if not 1 <= keep_last <= KEEP_MOST:
        raise InvalidParams(f"keepLast takes 1 to {KEEP_MOST}")
    session = owned_session(principal, key, lock=True)
    messages = session.conversation
    original = messages.count()
    if original < COMPACT_FROM:
        return {"ok": True, "message": "session too short to compact", "kept": original}
    boundary = _boundary(session, keep_last)
    kept = messages.filter(seq__gt=boundary).count()
    if kept < original:
        session.compacted_seq = boundary
        session.compactions += 1
        session.summary = _what_lies_before(session)
        session.save(update_fields=[*FIELDS, "updated_at"])
        _tell(session, original=original, kept=kept)
    return {"ok": True, "original": original, "kept": kept}


def _boundary(session: Session, keep_last: int) -> int:
    """The `seq` after which the last messages begin; never within what an active run is about."""
    messages = session.events.filter(IS_MESSAGE)
    newest = messages.order_by("-seq").values_list("seq", flat=True)
    boundary = next(iter(newest[keep_last : keep_last + 1]), 0)
    running = session.events.filter(run__status=Run.Status.RUNNING).order_by("seq").first()
    return min(boundary, running.seq - 1) if running else boundary


def _tell(session: Session, *, original: int, kept: int) -> None:
    """Who watches in 002 sees where the conversation begins now. PROTOCOLS.md 3.5."""
    counts = {"trigger": "manual", "original": original, "kept": kept}
    frame = {"type": "system", "subtype": "compact_boundary", "compact_metadata": counts}
    log.append(session, kind=SessionEvent.Kind.EVENT, data={"frame": frame})


def _what_lies_before(session: Session) -> str:
    before = session.events.filter(IS_MESSAGE, seq__lte=session.compacted_seq).aggregate(
        count=Count("pk"), first=Min("created_at"), last=Max("created_at")
    )
    between = f"{rfc3339(before['first'])} and {rfc3339(before['last'])}"
    return f"{before['count']} earlier messages, written between {between}, are left out here."
