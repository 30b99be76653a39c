"""What the fleet of processes keeps in the database: the outbox and each process's lease."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from django.db import models

from realtime.core.addresses import Address
from realtime.core.events import Event

Fact = tuple[Sequence[Address], Event]
Said = tuple[list[Address], list[Event]]

FACTS_PER_ROW = 50
MANY = "system.many"  # the name of an event that holds others; see `Announcement.said`


class Announcement(models.Model):
    """One row of the transactional outbox (`realtime.bus.announce`). Deleted after ten minutes.

    `once` is empty, or the key under which it is recorded (`Hub.record`), once for all processes.
    """

    id = models.BigAutoField(primary_key=True)
    addresses = models.JSONField()
    event = models.JSONField()
    once = models.CharField(max_length=32, default="", db_default="", blank=True)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    def __str__(self) -> str:
        return f"{self.pk} {self.event.get('name', '')}"

    @classmethod
    def rows(cls, facts: Sequence[Fact]) -> Iterator[Announcement]:
        """Unsaved rows that say these in this order: many of one transaction share a row.

        `addresses` are all that a row speaks to, so that who hears none of them reads no further.
        """
        left = iter(facts)
        while some := list(islice(left, FACTS_PER_ROW)):
            places: dict[Address, int] = {}
            groups = [
                [
                    [places.setdefault(address, len(places)) for address in targets],
                    [event.pack() for _, event in group],
                ]
                for targets, group in groupby(some, key=itemgetter(0))
            ]
            one = some[0][1].pack() if len(some) == 1 else {"name": MANY, "data": groups}
            yield cls(addresses=[address.pack() for address in places], event=one)

    @property
    def said(self) -> Iterator[Said]:
        """What this row says, to whom; events to the same addresses come together."""
        return said(self.addresses, self.event)


def said(addresses: Sequence[Sequence[str]], event: dict[str, Any]) -> Iterator[Said]:
    """As `Announcement.said`, from the values of the two columns."""
    everyone = [Address.unpack(address) for address in addresses]
    if event["name"] != MANY:
        yield everyone, [Event.unpack(event)]
        return
    for places, events in event["data"]:
        yield [everyone[place] for place in places], [Event.unpack(one) for one in events]


class Node(models.Model):
    """One serving process. It is alive while `lease_until` lies ahead by the database's clock."""

    id = models.CharField(primary_key=True, max_length=64)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    lease_until = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.id
