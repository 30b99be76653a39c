"""Who is connected."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from realtime.core import group_messages as messages


class Presence(models.Model):
    """One admitted connection; valid only while its node's lease is."""

    id = models.CharField(primary_key=True, max_length=128)
    node = models.CharField(max_length=64, db_index=True)
    account = models.ForeignKey(
        "accounts.Account", on_delete=models.CASCADE, related_name="presences"
    )
    user = models.CharField(max_length=255, blank=True, default="", db_index=True)
    protocol = models.CharField(max_length=32)
    place = models.TextField(blank=True, default="")
    address = models.CharField(max_length=255, blank=True, default="")
    role = models.CharField(max_length=16, blank=True, default="")
    client_id = models.TextField(blank=True, default="")
    since = models.DateTimeField(default=timezone.now)  # by the database's clock: see `arrive`
    last_seen = models.DateTimeField(auto_now_add=True)
    queued_bytes = models.PositiveBigIntegerField(default=0)  # accepted, not yet read by the peer

    class Meta:
        verbose_name = "connection"
        ordering = ["since", "id"]
        # Whoever comes on 003 asks whose a client id is.
        indexes = [
            models.Index(fields=["account", "protocol", "client_id"], name="presence_client")
        ]

    def __str__(self) -> str:
        return f"{self.protocol} connection of {self.user or 'nobody'}"

    @property
    def group(self) -> str | None:
        """The group of 003 that it is in."""
        return messages.group_of(self.place) if self.protocol == messages.NAME else None
