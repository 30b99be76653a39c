"""What the socket of an agent asks for: the next commands. Source: PROTOCOLS.md 6 (redelivery)."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.db.models.functions import Now

from realtime.core.principal import Principal
from sessions_app.models import ScheduledCommand, Status
from sessions_app.services import claims, delivery
from sessions_app.services.delivery import WINDOW


def take(
    *, principal: Principal, connection: str, called: bool, window: int = WINDOW
) -> dict[str, Any]:
    """As `delivery.take`. Not `called` to: after a look, and after leasing what is due by now, so
    that an agent that answers quickly waits for no dispatcher.
    """
    if not called:
        waiting = _waiting(principal, connection)
        if not waiting:
            return {"commands": [], "more": False}
        due = {agent for agent, status in waiting if status == Status.SCHEDULED}
        if due:
            claims.claim(dispatcher=connection, limit=window, agents=due)
    return delivery.take(principal=principal, connection=connection, window=window)


def _waiting(principal: Principal, connection: str) -> list[tuple[int, str]]:
    """The agent, and in which states something waits for it: a look that locks nothing, for most
    acknowledgements find nothing more.
    """
    mine = ScheduledCommand.objects.filter(
        agent__account__slug=principal.account,
        agent__agent_id=principal.id,
        agent__connection=connection,
    )
    due = Q(status=Status.SCHEDULED, deliver_at__lte=Now())
    elsewhere = Q(status=Status.DELIVERED) & ~Q(written_to=connection)
    found = mine.filter(due | Q(status=Status.LEASED) | elsewhere).order_by()
    return list(found.values_list("agent_id", "status").distinct())
