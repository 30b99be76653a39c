"""Who is connected."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


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

    def __str__(self) -> str:
        return f"{self.protocol} connection of {self.user or 'nobody'}"
