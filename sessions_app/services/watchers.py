"""Who is at a session of 002 now, watching it or working in it. PROTOCOLS.md 3, 4.5."""

from __future__ import annotations

from typing import Any

from realtime.core.principal import Principal
from sessions_app.moments import rfc3339
from sessions_app.services import last_seen, presence, workers
from sessions_app.services.ownership import shown_session


def here(*, principal: Principal, session_id: str) -> dict[str, Any]:
    """Each person once for each part, whoever came first first; and the session's agent and key.

    Raises NotFound.
    """
    session = shown_session(principal, session_id)
    places = [f"session:{name}" for name in (session.public_id, session.key)]
    at_it = presence.here(account=principal.account).filter(
        protocol=workers.PROTOCOL, place__in=places
    )
    rows = list(at_it.select_related("account").order_by("since", "pk"))
    idle = last_seen.refresh(rows)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        if row.pk not in idle:
            part = "worker" if row.client_id == workers.PART else "viewer"
            told = {"user": row.user, "part": part, "since": rfc3339(row.since)}
            found.setdefault((row.user, part), told)
    return {"data": list(found.values()), "agent": session.agent, "key": session.key}
