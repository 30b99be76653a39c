"""How the server is, for a peer that asks. Source: PROTOCOLS.md 2.8.

Administrators see their account, everybody else themselves.
"""

from __future__ import annotations

import time
from typing import Any

from django.db import DatabaseError
from django.db.models import QuerySet

from accounts.models import Account
from realtime.core.principal import Principal
from realtime.core.version import VERSION
from sessions_app.agents import DEFAULT
from sessions_app.models import Presence, Run
from sessions_app.moments import rfc3339
from sessions_app.services import agent_choice, presence, sessions

_STARTED_S = time.monotonic()


def health(*, principal: Principal, connection: str = "") -> dict[str, Any]:
    """The process and its database; `clients` only for administrators. `uptime` in ms."""
    try:
        clients = [_client(row) for row in _connections(principal)] if principal.is_admin else []
        Account.objects.exists()
        database = "ok"
    except DatabaseError:
        clients, database = [], "error"
    return {
        "status": "ok",
        "version": VERSION,
        "uptime": int((time.monotonic() - _STARTED_S) * 1000),
        "mode": "standard",
        "database": database,
        "tools": 0,
        "clients": clients,
        "currentId": connection,
    }


def status(*, principal: Principal) -> dict[str, Any]:
    """Agents, and how many connections and sessions the caller may see."""
    shown = agents_of(principal)
    return {
        "agents": shown,
        "agentTotal": len(shown),
        "clients": _connections(principal).count(),
        "sessions": sessions.visible(principal).count(),
    }


def agents(*, principal: Principal) -> dict[str, Any]:
    return {"agents": agents_of(principal)}


def agent(*, principal: Principal, agent_id: str = "") -> dict[str, Any]:
    """Whether an agent (default: the deployment's) has a run. Raises NotFound."""
    row = _agent(principal, agent_id)
    return {"id": row["id"], "isRunning": row["isRunning"]}


def await_agent(*, principal: Principal, agent_id: str = "") -> dict[str, Any]:
    """`idle` or `running`, at once: who waits asks again. Raises NotFound."""
    row = _agent(principal, agent_id)
    return {"id": row["id"], "status": "running" if row["isRunning"] else "idle"}


def identify_agent(*, principal: Principal, agent_id: str = "") -> dict[str, Any]:
    """What an agent is called and runs on. Raises NotFound."""
    row = _agent(principal, agent_id)
    return {name: row[name] for name in ("id", "name", "agentType", "model", "provider", "status")}


def tenants(*, principal: Principal) -> dict[str, Any]:
    """The caller's account, the only one there is for them."""
    account = Account.objects.filter(slug=principal.account).first()
    if account is None:
        return {"tenants": []}
    tenant = {"id": str(account.uuid), "name": account.name, "slug": account.slug}
    return {"tenants": [tenant | {"role": principal.role}]}


def agents_of(principal: Principal) -> list[dict[str, Any]]:
    """The agents there are; `isRunning` as far as the caller may see."""
    runs = Run.objects.filter(
        status=Run.Status.RUNNING, session__in=sessions.visible(principal).values("pk")
    )
    busy = set(runs.values_list("agent", flat=True))
    return [
        {
            "id": key,
            "name": agent.name,
            "model": agent.model,
            "provider": agent.provider,
            "agentType": "builtin",
            "status": "active",
            "isRunning": key in busy,
        }
        for key, agent in agent_choice.known().items()
    ]


def _agent(principal: Principal, agent_id: str) -> dict[str, Any]:
    key = agent_choice.resolve(agent_id or DEFAULT)
    return next(row for row in agents_of(principal) if row["id"] == key)


def _connections(principal: Principal) -> QuerySet[Presence]:
    if principal.is_admin:
        return presence.live(principal=principal)
    return presence.own(principal=principal)


def _client(row: Presence) -> dict[str, Any]:
    return {
        "id": row.pk,
        "remoteAddr": row.address,
        "userId": row.user,
        "role": row.role,
        "connectedAt": rfc3339(row.since),
    }
