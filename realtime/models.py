"""What the fleet of processes keeps in the database: the outbox and each process's lease."""

from __future__ import annotations

from django.db import models


class Announcement(models.Model):
    """One row of the transactional outbox (`realtime.bus.announce`). Deleted after ten minutes."""

    id = models.BigAutoField(primary_key=True)
    addresses = models.JSONField()
    event = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    def __str__(self) -> str:
        return f"{self.pk} {self.event.get('name', '')}"


class Node(models.Model):
    """One serving process. It is alive while `lease_until` lies ahead by the database's clock."""

    id = models.CharField(primary_key=True, max_length=64)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    lease_until = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.id
