"""The agent's side of delivery: what it is given. Source: PROTOCOLS.md 1.4, 1.5, 6.

A command is marked just before it is written. Killed in between: it is written again, on a later
connection. Whoever asks holds the agent's row, so that there is one giver at a time.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Case, Exists, F, OuterRef, Q, When

from accounts.models import EdgeAgent
from realtime.core.principal import Principal
from sessions_app.models import CommandQuerySet, ScheduledCommand, Status
from sessions_app.moments import rfc3339
from sessions_app.services import agents, clock
from sessions_app.services.command_request import MAX_PAYLOAD_BYTES
from sessions_app.services.command_steps import record, tell
from sessions_app.services.prepared import Prepared

WINDOW = 32  # commands written and not acknowledged
WINDOW_BYTES = MAX_PAYLOAD_BYTES  # of their payloads: a frame that carries them twice can wait
MAX_ATTEMPTS = 5
LOOK_AHEAD = 4 * WINDOW
FIRST = 4  # what a socket with nothing under way gets before other agents' have their turn

Place = tuple[dt.datetime, int]  # of a command in its agent's queue


def lease() -> dt.timedelta:
    """How long a dispatcher's claim holds, and the grace before a command is written again."""
    return dt.timedelta(seconds=settings.COMMAND_LEASE_S)


def grace(attempts: int) -> dt.timedelta:
    """How long an acknowledgement of the latest write is waited for, on whatever connection."""
    return lease() * 2 ** (min(attempts, MAX_ATTEMPTS) - 1)


def again(now: dt.datetime, connection: Any) -> Q:
    """Delivered, never acknowledged, and to be written again to `connection` (a name or an F)."""
    return Q(
        status=Status.DELIVERED,
        delivery=ScheduledCommand.Delivery.AT_LEAST_ONCE,
        attempts__lt=MAX_ATTEMPTS,
        retry_at__lte=now,
    ) & ~Q(written_to=connection)


@transaction.atomic
def take(*, principal: Principal, connection: str, window: int = WINDOW) -> dict[str, Any]:
    """The commands to be written to `connection` now, in order, as frames; none when a newer
    connection holds the agent. `more`: there is room for more than one answer carries.
    """
    agent = agents.locked(principal.account, principal.id)
    if agent is None or agent.connection != connection:
        return {"commands": [], "more": False}
    return _hand_over(agent, connection, window, first=FIRST)


@transaction.atomic
def fetch(*, principal: Principal, window: int = WINDOW) -> dict[str, Any]:
    """As `take`, for an agent that asks over HTTP (1.7): each request is a connection of its own.

    None while a socket holds the agent: what is on its way there is not given twice.
    """
    agent = agents.locked_or_new(principal.account, principal.id)
    now = clock.now()
    EdgeAgent.objects.filter(pk=agent.pk).update(last_seen_at=now)
    if EdgeAgent.objects.filter(agents.holder(), pk=agent.pk).exists():
        return {"commands": [], "more": False}
    connection = f"http:{secrets.token_hex(16)}"
    due = agent.commands.due(now).order_by("deliver_at", "seq")
    rows = list(due.select_for_update()[:window])
    lease_to(of(agent, rows), owner=connection, now=now)
    tell(rows, Status.LEASED, at=now)
    return _hand_over(agent, connection, window, first=window)


def lease_to(rows: Sequence[ScheduledCommand], *, owner: str, now: dt.datetime) -> None:
    """Promise locked, scheduled rows to whoever is to write them, for `lease()`."""
    if not rows:
        return
    ScheduledCommand.objects.filter(pk__in=[row.pk for row in rows]).move(
        Status.LEASED, lease_owner=owner, lease_until=now + lease(), leases=F("leases") + 1
    )
    record(rows, Status.LEASED, at=now, number=lambda row: row.leases + 1, actor=owner)


def frame(command: ScheduledCommand) -> dict[str, Any]:
    """The same object under `data` and `payload`, the priority on both levels (1.4)."""
    own = command.payload.get("priority", command.priority)
    inner = command.priority if own in ScheduledCommand.Priority.values else own
    body = {
        "command_id": command.pk,
        "command_type": command.command_type,
        "priority": command.priority,
        "timestamp": rfc3339(command.created_at),
        "payload": {**command.payload, "priority": inner},
    }
    return {"type": "command", "data": body, "payload": body}


def of(agent: EdgeAgent, rows: Sequence[ScheduledCommand]) -> Sequence[ScheduledCommand]:
    """The rows, which are this agent's, knowing it: no join, nothing read twice."""
    for row in rows:
        row.agent, row.account = agent, agent.account
    return rows


@dataclass
class _Room:
    """What a connection can still be given, and which threads must wait for what came before."""

    count: int
    bytes: int = WINDOW_BYTES
    waiting: dict[str, Place] = field(default_factory=dict)

    def admits(self, row: ScheduledCommand) -> bool:
        return self.count > 0 and row.size <= self.bytes

    def must_wait(self, row: ScheduledCommand) -> bool:
        before = self.waiting.get(_thread(row.payload.get("thread_id")))
        return before is not None and before < (row.deliver_at, row.seq)


def _hand_over(agent: EdgeAgent, connection: str, window: int, *, first: int) -> dict[str, Any]:
    """`first`: as many as one gets that has nothing under way; it is to ask for more."""
    now = clock.now()
    given = of(agent, _given(agent=agent.pk, connection=connection, now=now, since=now - lease()))
    room = _room(given, connection, window, now)
    rows = [row for row in given if _is_candidate(row, connection, now)]
    most = first if room.count == window else window
    taken = list(islice(_fitting(rows, room), most))
    _mark(taken, connection, now)
    left = len(rows) > len(taken) == most or len(given) == LOOK_AHEAD + WINDOW
    more = left and room.count > 0 and bool(taken)
    return {"commands": [frame(command) for command in taken], "more": more}


def _room(
    given: Sequence[ScheduledCommand], connection: str, window: int, now: dt.datetime
) -> _Room:
    """What was written within the last lease counts: longer silence must not stop an agent.

    What was written to an earlier connection in that time may come once more: until then the later
    commands of its thread wait, so that order is kept.
    """
    room = _Room(window)
    for row in given:
        if row.status != Status.DELIVERED or not row.written_at:
            continue
        if row.written_at <= now - lease():
            continue
        if row.written_to == connection:
            room.count -= 1
            room.bytes -= row.size
        elif _comes_again(row) and row.retry_at and row.retry_at > now:
            thread, place = _thread(row.payload.get("thread_id")), (row.deliver_at, row.seq)
            room.waiting[thread] = min(place, room.waiting.get(thread, place))
    return room


def _comes_again(row: ScheduledCommand) -> bool:
    once = row.delivery == ScheduledCommand.Delivery.AT_MOST_ONCE
    return not once and row.attempts < MAX_ATTEMPTS


def _thread(name: Any) -> str:
    return name if isinstance(name, str) else ""


def _is_candidate(row: ScheduledCommand, connection: str, now: dt.datetime) -> bool:
    """Whether it is to be written: leased, or as `again` says."""
    if row.status == Status.LEASED:
        return True
    is_time = row.retry_at is not None and row.retry_at <= now
    return is_time and row.written_to != connection and _comes_again(row)


def _find_given(
    *, agent: int, connection: str, now: dt.datetime, since: dt.datetime
) -> CommandQuerySet:
    """What was written `since`, then what is to be written, each in order; nothing of this after a
    command that is due but not leased yet (a dispatcher is about to).
    """
    place = Q(deliver_at__lt=OuterRef("deliver_at"))
    place |= Q(deliver_at=OuterRef("deliver_at"), seq__lt=OuterRef("seq"))
    before = ScheduledCommand.objects.filter(place, agent=agent).due(now)
    wanted = Q(status=Status.LEASED) | again(now, connection)
    recent = Q(status=Status.DELIVERED, written_at__gt=since)
    mine = ScheduledCommand.objects.filter(agent=agent)
    rows = mine.filter(recent | (wanted & ~Exists(before))).unexpired(now)
    rows = rows.order_by(Case(When(recent, then=0), default=1), "deliver_at", "seq")
    return rows.select_for_update(of=("self",))[: LOOK_AHEAD + WINDOW]


_given = Prepared(_find_given, agent=int, connection=str, now=dt.datetime, since=dt.datetime)


def _fitting(rows: Sequence[ScheduledCommand], room: _Room) -> Iterator[ScheduledCommand]:
    for row in rows:
        if room.must_wait(row):
            continue
        if not room.admits(row):
            return
        room.count -= 1
        room.bytes -= row.size
        yield row


def _mark(rows: Sequence[ScheduledCommand], connection: str, now: dt.datetime) -> None:
    if not rows:
        return
    for attempts in {row.attempts for row in rows}:
        same = [row.pk for row in rows if row.attempts == attempts]
        ScheduledCommand.objects.filter(pk__in=same).move(
            Status.DELIVERED,
            attempts=attempts + 1,
            written_to=connection,
            written_at=now,
            retry_at=now + grace(attempts + 1),
            lease_until=None,
        )
    record(
        rows,
        Status.DELIVERED,
        at=now,
        number=lambda row: row.attempts + 1,
        data={"connection": connection},
    )
    tell(rows, Status.DELIVERED, at=now)
