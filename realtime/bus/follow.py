"""Reading the outbox: every committed announcement once, none skipped, whatever order commits
finish in.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from django.db.models import Max, Q, QuerySet, TextField
from django.db.models.functions import Cast, Now

from realtime.models import Announcement, Said, said

KEEP = dt.timedelta(minutes=10)
# An id missing below the newest belongs to a transaction that is still open, or was rolled back.
# Only the youngest are worth asking for again.
MAX_GAPS = 2_000
# Below the first row of all (a new or a long idle table) only what is open right now is missing.
FIRST_GAPS = 100
BATCH = 500

Hears = Callable[[Sequence[tuple[str, str, str]]], bool]
Heard = tuple[int, str, list[Said]]

_addresses = msgspec.json.Decoder(list[tuple[str, str, str]]).decode
_event = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass
class Cursor:
    """How far this process has heard: all ids up to `high`, except those in `gaps`.

    Belongs to the event loop: an id is marked once its event has been delivered. Gap values:
    monotonic seconds when the id was first seen missing. A gap is dropped after `KEEP`: no
    transaction of ours lives that long.
    """

    high: int = 0
    gaps: dict[int, float] = field(default_factory=dict)

    def has(self, announcement: int) -> bool:
        return announcement <= self.high and announcement not in self.gaps

    def mark(self, announcement: int, now_s: float) -> None:
        """`announcement` has been delivered; the ids skipped on the way to it are gaps."""
        if announcement <= self.high:
            self.gaps.pop(announcement, None)
            return
        reach = MAX_GAPS if self.high else FIRST_GAPS
        for missing in range(max(self.high + 1, announcement - reach), announcement):
            self.gaps[missing] = now_s
        self.high = announcement

    def forget_old_gaps(self, now_s: float) -> None:
        for missing, since_s in list(self.gaps.items()):
            if now_s - since_s > KEEP.total_seconds():
                del self.gaps[missing]
        for missing in sorted(self.gaps)[:-MAX_GAPS]:
            del self.gaps[missing]


def newest(now_s: float) -> Cursor:
    """Where a new process starts: behind the newest row.

    Ids missing among the latest rows may belong to transactions open right now: they are gaps.
    """
    high = Announcement.objects.aggregate(high=Max("id"))["high"] or 0
    known = set(Announcement.objects.filter(id__gt=high - MAX_GAPS).values_list("id", flat=True))
    first = max(1, min(known) - FIRST_GAPS) if known else high + 1
    missing = set(range(first, high + 1)) - known
    return Cursor(high, dict.fromkeys(sorted(missing), now_s))


def unheard(high: int, gaps: Sequence[int], hears: Hears) -> list[Heard]:
    """The committed rows after `high` or in `gaps`, oldest first, at most BATCH: their `once`, and
    what each says.

    Nothing of those that speak only to addresses where nobody `hears`: they are not even parsed.
    What is recorded is for those, too, who come later.
    """
    wanted = Q(id__gt=high) | Q(id__in=gaps) if gaps else Q(id__gt=high)
    return list(_read(Announcement.objects.filter(wanted).order_by("id")[:BATCH], hears))


def recorded() -> list[Heard]:
    """The rows to be recorded that are here still: what was said while no process was up must have
    its number, or whoever comes back would take what they hear for all.
    """
    return list(_read(Announcement.objects.exclude(once="").order_by("id"), _nobody))


def _read(rows: QuerySet[Announcement], hears: Hears) -> Iterator[Heard]:
    texts = [Cast(name, TextField()) for name in ("addresses", "event")]
    for pk, once, addresses, event in rows.values_list("pk", "once", *texts):
        table = _addresses(addresses)
        wanted_here = once or hears(table)
        yield pk, once, list(said(table, _event(event))) if wanted_here else []


def _nobody(addresses: Sequence[tuple[str, str, str]]) -> bool:
    return False


def delete_old() -> int:
    """Delete the rows that every process has had ten minutes to read; how many."""
    return Announcement.objects.filter(created_at__lt=Now() - KEEP).delete()[0]
