"""Edge agents: which socket holds one, what it says of itself, who is there. PROTOCOLS.md 1.6, 6.

Whoever changes what an agent is to get locks its row first: one lock order, no deadlocks.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import re
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from accounts.models import Account, EdgeAgent
from accounts.services.scopes import require
from realtime.bus.announce import announce, announce_all
from realtime.core import addresses, wire
from realtime.core.errors import InvalidParams, NotFound, Replaced
from realtime.core.events import AGENT_HELD, CHANGED, COMMANDS_DUE, Event
from realtime.core.principal import Principal
from sessions_app.models import OPEN, Presence, ScheduledCommand, Status
from sessions_app.moments import rfc3339
from sessions_app.services import clock, nodes
from sessions_app.services.command_steps import Fact, wake
from sessions_app.services.prepared import Prepared

logger = structlog.get_logger("gateway")

PROTOCOL = "edge"  # as Presence names it
UPDATED = "agent.updated"
MAX_STATUS_BYTES = 16 * 1024
WAITING = (Status.SCHEDULED, Status.LEASED, Status.DELIVERED)


def holder() -> Exists:
    """Whether the socket that holds an agent is present in a living process."""
    sockets = Presence.objects.filter(
        pk=OuterRef("connection"), protocol=PROTOCOL, node__in=nodes.live()
    )
    return Exists(sockets)


def locked(account: str, agent_id: str) -> EdgeAgent | None:
    """The agent, held until the transaction ends."""
    rows = EdgeAgent.objects.select_related("account").select_for_update(of=("self",))
    return rows.filter(account__slug=account, agent_id=agent_id).first()


def locked_or_new(account: str, agent_id: str) -> EdgeAgent:
    """As `locked`; an agent never seen begins here (PROTOCOLS.md 6). Raises NotFound (account)."""
    agent = locked(account, agent_id)
    if agent is not None:
        return agent
    owner = Account.objects.filter(slug=account).first()
    if owner is None:
        raise NotFound(f"account not found: {account}")
    # Somebody else may begin it at the same moment: then theirs is taken.
    EdgeAgent.objects.bulk_create(
        [EdgeAgent(account=owner, agent_id=agent_id)], ignore_conflicts=True
    )
    agent = locked(account, agent_id)
    if agent is None:
        raise NotFound(f"agent not found: {agent_id}")
    return agent


def is_idle(agent: EdgeAgent, now: dt.datetime) -> bool:
    """Whether a socket holds the agent and nothing is due for it or on its way."""
    return bool(_idle(agent=agent.pk, now=now))


def _find_idle(*, agent: int, now: dt.datetime) -> QuerySet[EdgeAgent]:
    under_way = Q(status__in=[Status.LEASED, Status.DELIVERED])
    waiting = Q(status=Status.SCHEDULED, deliver_at__lte=now)
    busy = ScheduledCommand.objects.filter(under_way | waiting, agent=OuterRef("pk"))
    return EdgeAgent.objects.filter(holder(), ~Exists(busy), pk=agent, is_active=True).only("pk")


_idle = Prepared(_find_idle, agent=int, now=dt.datetime)


def call(agent: EdgeAgent) -> Fact:
    """Commands have been leased for this agent: its socket is to take them."""
    return [addresses.agent(agent.account.slug, agent.agent_id)], Event(COMMANDS_DUE)


@transaction.atomic
def hold(*, principal: Principal, connection: str) -> dict[str, Any]:
    """`connection` is the agent's socket from now on; the one before hears that it was replaced.

    Raises Replaced for one that comes too late: a newer one holds the agent already.
    """
    agent = locked_or_new(principal.account, principal.id)
    if _is_held_by_a_newer(agent, connection):
        raise Replaced
    agent.connection = connection
    agent.last_seen_at = clock.now()
    agent.save(update_fields=["connection", "last_seen_at"])
    mine = addresses.agent(principal.account, principal.id)
    facts: list[Fact] = [([mine], Event(AGENT_HELD, {"connection": connection}))]
    if agent.commands.filter(status__in=WAITING).exists():
        facts.append(wake(agent))
    announce_all([*facts, *_news(principal, online=True)])
    about = {"agent": principal.id, "account": principal.account, "connection": connection}
    logger.info(f"WebSocket connection established for {principal.id}", **about)  # PROTOCOLS 1.2
    logger.info(f"Edge agent {principal.id} registered with WebSocket manager", **about)
    return {}


@transaction.atomic
def released(*, principal: Principal, connection: str) -> None:
    """The socket has ended; without effect when a newer one holds the agent already."""
    mine = EdgeAgent.objects.filter(account__slug=principal.account, agent_id=principal.id)
    if mine.filter(connection=connection).update(connection="", last_seen_at=clock.now()):
        announce_all(_news(principal, online=False))


@transaction.atomic
def report(*, principal: Principal, status: dict[str, Any]) -> dict[str, Any]:
    """What an agent says of itself, kept as its newest status. Raises InvalidParams (too large)."""
    if len(wire.encode(status).encode()) > MAX_STATUS_BYTES:
        raise InvalidParams(f"status: it takes up to {MAX_STATUS_BYTES} bytes")
    agent = locked_or_new(principal.account, principal.id)
    agent.status = status
    agent.status_at = agent.last_seen_at = clock.now()
    agent.save(update_fields=["status", "status_at", "last_seen_at"])
    announce(*_changed(principal.account))
    return {}


def visible(principal: Principal) -> QuerySet[EdgeAgent]:
    """The account's agents, each with `online` and `queue_depth`. Raises RoleTooLow."""
    require(principal, "operator", "agents")
    return described(EdgeAgent.objects.filter(account__slug=principal.account))


def described(rows: QuerySet[EdgeAgent]) -> QuerySet[EdgeAgent]:
    """The agents with `online` and `queue_depth`."""
    waiting = ScheduledCommand.objects.filter(agent=OuterRef("pk"), status__in=OPEN).order_by()
    depth = waiting.values("agent").annotate(count=Count("pk")).values("count")
    return rows.select_related("account").annotate(
        online=holder(), queue_depth=Coalesce(Subquery(depth), 0)
    )


def matching(*, principal: Principal, pattern: str = "*", online: bool | None = None) -> list[str]:
    """The ids of the active agents whose id fits `pattern` (`*`, `?`), in order."""
    rows = visible(principal).filter(is_active=True)
    if online is not None:
        rows = rows.filter(holder()) if online else rows.exclude(holder())
    fits = re.compile(fnmatch.translate(pattern)).match
    return [name for name in rows.values_list("agent_id", flat=True) if fits(name)]


def _is_held_by_a_newer(agent: EdgeAgent, connection: str) -> bool:
    """A process that stalls before a socket's hold must not undo a newer one's."""
    arrived = Presence.objects.filter(pk=connection).values("since")
    holders = Presence.objects.filter(pk=agent.connection, node__in=nodes.live())
    return holders.filter(since__gt=Subquery(arrived)).exists()


def _news(principal: Principal, *, online: bool) -> list[Fact]:
    """The agent has come or gone: who hears of it (PROTOCOLS.md 6, 000 and topics)."""
    account, agent_id = principal.account, principal.id
    told = {"agent_id": agent_id, "online": online, "at": rfc3339(clock.now())}
    topic = addresses.topic(f"nexus:{account}", f"agent.{agent_id}.commands")
    return [([topic, addresses.admins(account)], Event(UPDATED, told)), _changed(account)]


def _changed(account: str) -> Fact:
    pages = [addresses.pages(account), addresses.every_page()]
    return pages, Event(CHANGED, {"what": "agents"})
