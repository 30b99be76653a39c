"""Paired devices, and the state machine of a pairing."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models.people import MAX_ID, Account


class PairingQuerySet(models.QuerySet["Pairing"]):
    def pending(self, now: dt.datetime) -> PairingQuerySet:
        return self.filter(status=Pairing.Status.PENDING, expires_at__gt=now)

    def paired(self, now: dt.datetime) -> PairingQuerySet:
        return self.filter(status=Pairing.Status.APPROVED, approved_until__gt=now)

    def move(self, to: Pairing.Status, **changes: Any) -> int:
        """Change the status where TRANSITIONS allows it; how many rows moved says who won."""
        sources = [source for source, targets in TRANSITIONS.items() if to in targets]
        return self.filter(status__in=sources).update(status=to, **changes)


class Pairing(models.Model):
    """A device's request to be let in, and its admission. Source: PROTOCOLS.md 2.4-2.6.

    `sender_id` is the device's only proof where `proof` is set: this server made it, of 128 random
    bits. An id that a caller of `device.pair.request` chose opens no door.
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        APPROVED = "approved"
        DENIED = "denied"
        EXPIRED = "expired"
        REVOKED = "revoked"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="pairings")
    code = models.CharField(max_length=8)
    sender_id = models.CharField(max_length=128)
    proof = models.BooleanField(default=False)
    channel = models.CharField(max_length=64)
    chat_id = models.CharField(max_length=255, blank=True)
    account_key = models.CharField(max_length=64, default="default")
    user_id = models.CharField(max_length=MAX_ID, blank=True)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.PENDING)
    address = models.CharField(max_length=64, blank=True)
    user_agent = models.CharField(max_length=255, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    decided_by = models.CharField(max_length=MAX_ID, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    approved_by = models.CharField(max_length=64, blank=True)
    approved_until = models.DateTimeField(null=True, blank=True)

    objects = PairingQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["code"], condition=Q(status="pending"), name="one_pending_per_code"
            ),
            models.UniqueConstraint(
                fields=["sender_id"], condition=Q(proof=True), name="one_device_per_proof"
            ),
            models.UniqueConstraint(
                fields=["account", "channel", "sender_id"],
                condition=Q(status__in=["pending", "approved"]),
                name="one_open_pairing_per_sender",
            ),
        ]
        indexes = [
            models.Index(fields=["status", "expires_at"], name="pairing_by_status"),
            models.Index(fields=["sender_id"], name="pairing_by_sender"),
        ]

    def __str__(self) -> str:
        return f"{self.channel} device of {self.user_id or 'nobody yet'}"

    @property
    def handle(self) -> str:
        return f"device:{self.pk}"


# Every legal change of a pairing's status; what is not here does not happen.
TRANSITIONS: dict[str, frozenset[str]] = {
    Pairing.Status.PENDING: frozenset(
        {Pairing.Status.APPROVED, Pairing.Status.DENIED, Pairing.Status.EXPIRED}
    ),
    Pairing.Status.APPROVED: frozenset({Pairing.Status.REVOKED, Pairing.Status.EXPIRED}),
    Pairing.Status.DENIED: frozenset(),
    Pairing.Status.EXPIRED: frozenset(),
    Pairing.Status.REVOKED: frozenset(),
}
