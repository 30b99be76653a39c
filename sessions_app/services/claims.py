"""The dispatcher's side of delivery: claim what is due, and end what has waited too long.

Any number of dispatchers beside each other: rows that one has locked the others skip; on SQLite
transactions are IMMEDIATE, one at a time. Source: PROTOCOLS.md 6 (redelivery), RELIABILITY.md 2.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection

import structlog
from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet

from accounts.models import EdgeAgent
from realtime.core.principal import Principal
from sessions_app.models import CommandQuerySet, Presence, ScheduledCommand, Status
from sessions_app.services import agents, clock
from sessions_app.services.command_steps import record, tell
from sessions_app.services.delivery import MAX_ATTEMPTS, WINDOW, again, grace, lease, lease_to, of

logger = structlog.get_logger("gateway")

BATCH = 1000
LAPSED = "lease_lapsed"  # the kind of event
UNTAKEN = dt.timedelta(seconds=1)  # after which an agent's socket is told once more

Pair = tuple[str, str]  # of an account's slug and an agent_id


def claim(
    *, dispatcher: str, limit: int = BATCH, agents: Collection[int] | None = None
) -> list[Pair]:
    """Lease what is due for connected agents, oldest first, no agent more than its window has room
    for; whose sockets are to be told. `agents`: only these (row ids).
    """
    leased: dict[Pair, None] = {}
    full: set[int] = set()
    while limit > 0:
        asked = limit
        rows, mine = _claim_some(dispatcher, limit, agents, full)
        leased.update(dict.fromkeys((row.account.slug, row.agent.agent_id) for row in mine))
        limit -= len(mine)
        if len(rows) < asked:
            break
    return list(leased)


def overdue() -> list[Pair]:
    """The connected agents whose sockets seem not to have heard: what was leased a while ago has
    not been taken, or it is time to write something again.
    """
    now = clock.now()
    forgotten = Q(status=Status.LEASED, lease_until__lte=now + lease() - UNTAKEN)
    rows = ScheduledCommand.objects.filter(forgotten | again(now, F("agent__connection")))
    pairs = rows.unexpired(now).filter(agent__in=_connected()).order_by()
    return list(pairs.values_list("account__slug", "agent__agent_id").distinct())


def return_lapsed() -> int:
    """Put back what was leased and not taken in time; how many. Never what was delivered."""
    return _sweep(
        lambda now: ScheduledCommand.objects.filter(status=Status.LEASED, lease_until__lte=now),
        _return,
    )


def expire() -> int:
    """End what nobody acknowledged before its time was over; how many."""
    open_ = (Status.SCHEDULED, Status.LEASED, Status.DELIVERED)
    return _sweep(
        lambda now: ScheduledCommand.objects.filter(status__in=open_, expires_at__lte=now),
        _end_expired,
    )


def bury() -> int:
    """End what was written as often as it may be, and the agent came again without a word of it."""
    return _sweep(_hopeless, _give_up)


def bury_silent(*, principal: Principal) -> int:
    """As `bury`, for an agent that has just asked over HTTP. It has no connection to lose: the
    longest grace is over, and no socket holds it.
    """
    mine = Q(agent__account__slug=principal.account, agent__agent_id=principal.id)
    held = EdgeAgent.objects.filter(agents.holder(), pk=OuterRef("agent"))

    def found(now: dt.datetime) -> CommandQuerySet:
        silent = _last_written(now).filter(mine, written_at__lte=now - grace(MAX_ATTEMPTS))
        return silent.exclude(Exists(held))

    return _sweep(found, _give_up)


def next_due_in_s() -> float | None:
    """Seconds until something that waits for its time is due; None when nothing does."""
    now = clock.now()
    later = ScheduledCommand.objects.filter(status=Status.SCHEDULED, deliver_at__gt=now)
    first = later.order_by("deliver_at", "seq").values_list("deliver_at", flat=True).first()
    return (first - now).total_seconds() if first else None


def _connected() -> QuerySet[EdgeAgent, int]:
    return EdgeAgent.objects.filter(agents.holder(), is_active=True).values_list("pk", flat=True)


def _claim_some(
    dispatcher: str, limit: int, only: Collection[int] | None, full: set[int]
) -> tuple[list[ScheduledCommand], list[ScheduledCommand]]:
    """The due rows that were looked at, and those of them that are leased now; `full` grows."""
    now = clock.now()
    due = ScheduledCommand.objects.due(now).filter(agent__in=_connected()).exclude(agent__in=full)
    if only is not None:
        due = due.filter(agent__in=only)
    if not due.exists():  # a look that locks nothing: most find nothing
        return [], []
    with transaction.atomic():
        rows = _locked(due.order_by("deliver_at", "seq")[:limit])
        room = _room({row.agent_id for row in rows}, now)
        mine = []
        for row in rows:
            if room[row.agent_id] > 0:
                room[row.agent_id] -= 1
                mine.append(row)
        full.update(agent for agent, left in room.items() if left <= 0)
        lease_to(mine, owner=dispatcher, now=now)
        tell(mine, Status.LEASED, at=now)
    return rows, mine


def _locked(found: CommandQuerySet) -> list[ScheduledCommand]:
    """The rows found that nobody else has locked, each with its agent: read once for all."""
    rows = list(found.defer("payload", "result").select_for_update(skip_locked=True, of=("self",)))
    owners = EdgeAgent.objects.select_related("account").in_bulk({row.agent_id for row in rows})
    for row in rows:
        of(owners[row.agent_id], [row])
    return rows


def _room(ids: set[int], now: dt.datetime) -> dict[int, int]:
    """How many commands each of these agents can be given."""
    under_way = Q(status=Status.LEASED) | Q(
        status=Status.DELIVERED, written_to=F("agent__connection"), written_at__gt=now - lease()
    )
    busy = ScheduledCommand.objects.filter(under_way, agent__in=ids).order_by()
    used = dict(busy.values_list("agent").annotate(Count("pk")))
    return {pk: WINDOW - used.get(pk, 0) for pk in ids}


def _last_written(now: dt.datetime) -> CommandQuerySet:
    """Written for the last time, and its grace is over."""
    last = Q(attempts__gte=MAX_ATTEMPTS) | Q(delivery=ScheduledCommand.Delivery.AT_MOST_ONCE)
    return ScheduledCommand.objects.filter(last, status=Status.DELIVERED, retry_at__lte=now)


def _hopeless(now: dt.datetime) -> CommandQuerySet:
    came_again = ~Q(agent__connection="") & ~Q(agent__connection=F("written_to"))
    # The first thing that an agent says on a new connection is what it could not say before.
    just_come = Presence.objects.filter(pk=OuterRef("agent__connection"), since__gt=now - lease())
    return _last_written(now).filter(came_again).exclude(Exists(just_come))


def _give_up(rows: list[ScheduledCommand], now: dt.datetime) -> None:
    _end(rows, Status.DEAD, "written and never acknowledged", now)


def _sweep(
    found: Callable[[dt.datetime], CommandQuerySet],
    work: Callable[[list[ScheduledCommand], dt.datetime], None],
) -> int:
    """Do `work` to the rows found, in batches, skipping what others have locked; how many."""
    done = 0
    while True:
        now = clock.now()
        if not found(now).exists():
            return done
        with transaction.atomic():
            rows = _locked(found(now).order_by("pk")[:BATCH])
            if rows:
                work(rows, now)
        done += len(rows)
        if len(rows) < BATCH:
            return done


def _return(rows: list[ScheduledCommand], now: dt.datetime) -> None:
    ScheduledCommand.objects.filter(pk__in=[row.pk for row in rows], status=Status.LEASED).move(
        Status.SCHEDULED, lease_until=None
    )
    record(rows, LAPSED, at=now, number=lambda row: row.leases)
    tell(rows, Status.SCHEDULED, at=now)


def _end_expired(rows: list[ScheduledCommand], now: dt.datetime) -> None:
    written = [row for row in rows if row.attempts]
    _end(written, Status.EXPIRED, "expired before it was acknowledged", now)
    unwritten = [row for row in rows if not row.attempts]
    _end(unwritten, Status.EXPIRED, "expired before it could be delivered", now)


def _end(rows: list[ScheduledCommand], to: Status, why: str, now: dt.datetime) -> None:
    ScheduledCommand.objects.filter(pk__in=[row.pk for row in rows]).move(
        to, error=why, lease_until=None
    )
    record(rows, to, at=now, data={"error": why})
    tell(rows, to, at=now)
    for row in rows:
        logger.info(f"command.{to}", command=row.pk, agent=row.agent.agent_id, reason=why)
