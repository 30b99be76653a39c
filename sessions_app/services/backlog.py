"""How many commands were open in the last hour, minute by minute: told by their events."""

from __future__ import annotations

import datetime as dt
from collections import Counter

from django.db.models import Count, Exists, OuterRef, QuerySet
from django.db.models.functions import TruncMinute

from accounts.models import Account
from sessions_app.models import OPEN, CommandEvent, ScheduledCommand, Status
from sessions_app.services import clock

MINUTES = 60
MINUTE = dt.timedelta(minutes=1)
ENDS = [status.value for status in Status if status not in OPEN]


def last_hour(account: Account | None) -> list[int]:
    """The open commands of an account (None: of all) at the ends of the last 60 minutes, and now.

    Counted backwards from those that are open now.
    """
    now = clock.now()
    this_minute = now.replace(second=0, microsecond=0)
    growth = _growth(account, this_minute - (MINUTES - 1) * MINUTE)
    counts = [open_now(account)]
    for back in range(MINUTES):
        counts.append(counts[-1] - growth[this_minute - back * MINUTE])
    return [max(0, count) for count in reversed(counts)]


def open_now(account: Account | None) -> int:
    commands = ScheduledCommand.objects.filter(status__in=OPEN)
    return (commands if account is None else commands.filter(account=account)).count()


def _growth(account: Account | None, since: dt.datetime) -> Counter[dt.datetime]:
    """By how many more commands were open at the end of each minute than at its beginning."""
    events = CommandEvent.objects.filter(at__gte=since)
    if account is not None:
        events = events.filter(command__account=account)
    # Of one round through the queue only the first end counts: completed may turn into failed.
    ended_before = CommandEvent.objects.filter(
        command=OuterRef("command"),
        attempt=OuterRef("attempt"),
        kind__in=ENDS,
        pk__lt=OuterRef("pk"),
    )
    growth: Counter[dt.datetime] = Counter()
    growth.update(_by_minute(events.filter(kind=Status.SCHEDULED)))
    growth.subtract(_by_minute(events.filter(~Exists(ended_before), kind__in=ENDS)))
    return growth


def _by_minute(events: QuerySet[CommandEvent]) -> dict[dt.datetime, int]:
    rows = events.order_by().annotate(minute=TruncMinute("at", tzinfo=dt.UTC))
    return dict(rows.values_list("minute").annotate(Count("pk")))
