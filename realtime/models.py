"""What the fleet of processes keeps in the database: the outbox and each process's lease."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter

from django.db import models

from realtime.core.addresses import Address
from realtime.core.events import Event

Fact = tuple[Sequence[Address], Event]
Said = tuple[list[Address], list[Event]]

FACTS_PER_ROW = 50
MANY = "system.many"  # the name of an event that holds others, in groups with their addresses


class Announcement(models.Model):
    """One row of the transactional outbox (`realtime.bus.announce`). Deleted after ten minutes."""

    id = models.BigAutoField(primary_key=True)
    addresses = models.JSONField()
    event = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    def __str__(self) -> str:
        return f"{self.pk} {self.event.get('name', '')}"

    @classmethod
    def rows(cls, facts: Sequence[Fact]) -> Iterator[Announcement]:
        """Unsaved rows that say these in this order: many of one transaction share a row."""
        left = iter(facts)
        while some := list(islice(left, FACTS_PER_ROW)):
            groups = [
                [[address.pack() for address in targets], [event.pack() for _, event in group]]
                for targets, group in groupby(some, key=itemgetter(0))
            ]
            addresses, events = groups[0]
            if len(some) == 1:
                yield cls(addresses=addresses, event=events[0])
            else:
                yield cls(addresses=[], event={"name": MANY, "data": groups})

    @property
    def said(self) -> Iterator[Said]:
        """What this row says, to whom; events to the same addresses come together."""
        one = self.event["name"] != MANY
        for addresses, events in [(self.addresses, [self.event])] if one else self.event["data"]:
            yield list(map(Address.unpack, addresses)), list(map(Event.unpack, events))


class Node(models.Model):
    """One serving process. It is alive while `lease_until` lies ahead by the database's clock."""

    id = models.CharField(primary_key=True, max_length=64)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    lease_until = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.id
