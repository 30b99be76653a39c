"""What the fleet of processes keeps in the database: the outbox and each process's lease."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from django.db import models

from realtime.core.addresses import Address
from realtime.core.events import Event

Fact = tuple[Sequence[Address], Event]

FACTS_PER_ROW = 50
MANY = "system.many"  # the name of an event that holds others, each with its addresses


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
        packed = iter([[a.pack() for a in targets], event.pack()] for targets, event in facts)
        while some := list(islice(packed, FACTS_PER_ROW)):
            addresses, event = some[0] if len(some) == 1 else ([], {"name": MANY, "data": some})
            yield cls(addresses=addresses, event=event)

    @property
    def facts(self) -> list[tuple[list[Address], Event]]:
        one = self.event["name"] != MANY
        packed = [(self.addresses, self.event)] if one else self.event["data"]
        return [(list(map(Address.unpack, ours)), Event.unpack(event)) for ours, event in packed]


class Node(models.Model):
    """One serving process. It is alive while `lease_until` lies ahead by the database's clock."""

    id = models.CharField(primary_key=True, max_length=64)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    lease_until = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.id
