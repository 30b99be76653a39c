"""Commands for edge agents, and what became of them. Source: PROTOCOLS.md 1.5, 6."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Q

if TYPE_CHECKING:
    from django_stubs_ext.db.models.manager import RelatedManager


def new_command_id() -> str:
    return f"cmd_{uuid.uuid4().hex}"


class Status(models.TextChoices):
    SCHEDULED = "scheduled"
    LEASED = "leased"
    DELIVERED = "delivered"
    RECEIVED = "received"
    EXECUTING = "executing"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    DEAD = "dead"


# Every legal change of a command's status; what is not here does not happen.
TRANSITIONS: dict[str, frozenset[str]] = {
    # claimed for a connected agent; or its time ran out; or somebody thought better of it
    Status.SCHEDULED: frozenset({Status.LEASED, Status.EXPIRED, Status.CANCELLED}),
    # about to be written; or the lease lapsed; or as above
    Status.LEASED: frozenset(
        {Status.DELIVERED, Status.SCHEDULED, Status.EXPIRED, Status.CANCELLED}
    ),
    # acknowledged; or written again on a new connection; or given up
    Status.DELIVERED: frozenset(
        {
            Status.DELIVERED,
            Status.RECEIVED,
            Status.EXECUTING,
            Status.COMPLETED,
            Status.FAILED,
            Status.EXPIRED,
            Status.CANCELLED,
            Status.DEAD,
        }
    ),
    Status.RECEIVED: frozenset(
        {Status.EXECUTING, Status.COMPLETED, Status.FAILED, Status.CANCELLED}
    ),
    Status.EXECUTING: frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED}),
    # the second acknowledgement may say that it failed after all
    Status.COMPLETED: frozenset({Status.FAILED}),
    # put back into the queue by hand
    Status.FAILED: frozenset({Status.SCHEDULED}),
    Status.EXPIRED: frozenset({Status.SCHEDULED}),
    Status.DEAD: frozenset({Status.SCHEDULED, Status.CANCELLED}),
    Status.CANCELLED: frozenset(),
}

OPEN = (Status.SCHEDULED, Status.LEASED, Status.DELIVERED, Status.RECEIVED, Status.EXECUTING)


class CommandQuerySet(models.QuerySet["ScheduledCommand"]):
    def due(self, now: dt.datetime) -> CommandQuerySet:
        """Waiting to be leased, and it is time."""
        return self.filter(status=Status.SCHEDULED, deliver_at__lte=now).unexpired(now)

    def unexpired(self, now: dt.datetime) -> CommandQuerySet:
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=now))

    def move(self, to: Status, **changes: Any) -> int:
        """Change the status where TRANSITIONS allows it; how many rows moved says who won."""
        sources = [source for source, targets in TRANSITIONS.items() if to in targets]
        return self.filter(status__in=sources).update(status=to, **changes)


class ScheduledCommand(models.Model):
    """One command for one agent.

    `deliver_at` is held here, `payload["send_at"]` belongs to the agent. `seq` counts per agent.
    `lease_owner` is the dispatcher that claimed it, `written_to` the connection that it was last
    written to. `acknowledged_at`: the first terminal acknowledgement, `executed_at`: the second.
    `leases` and `retries` number the events that may happen again, as `attempts` does.
    """

    class Delivery(models.TextChoices):
        AT_LEAST_ONCE = "at_least_once"
        AT_MOST_ONCE = "at_most_once"

    class Priority(models.TextChoices):
        NORMAL = "normal"
        IMMEDIATE = "immediate"

    id = models.CharField(primary_key=True, max_length=128, default=new_command_id, editable=False)
    # The agent's own, once more: a caller's idempotency key is one in all of the account.
    account = models.ForeignKey(
        "accounts.Account", on_delete=models.CASCADE, related_name="commands", editable=False
    )
    agent = models.ForeignKey(
        "accounts.EdgeAgent", on_delete=models.CASCADE, related_name="commands"
    )
    seq = models.PositiveBigIntegerField()
    command_type = models.CharField(max_length=128)
    payload = models.JSONField(default=dict, blank=True)
    size = models.PositiveIntegerField(default=0, editable=False)  # of the payload, in bytes
    priority = models.CharField(max_length=16, choices=Priority.choices, default=Priority.NORMAL)
    delivery = models.CharField(
        max_length=16, choices=Delivery.choices, default=Delivery.AT_LEAST_ONCE
    )
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.SCHEDULED)
    created_by = models.CharField(max_length=255, blank=True, default="")
    created_at = models.DateTimeField()
    deliver_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    idempotency_key = models.CharField(max_length=255, blank=True, default="")
    fingerprint = models.CharField(max_length=64, blank=True, default="")  # of what was asked for
    attempts = models.PositiveIntegerField(default=0)  # writes to a socket
    leases = models.PositiveIntegerField(default=0)
    retries = models.PositiveIntegerField(default=0)  # times put back into the queue by hand
    lease_owner = models.CharField(max_length=128, blank=True, default="")
    lease_until = models.DateTimeField(null=True, blank=True)
    written_to = models.CharField(max_length=128, blank=True, default="")
    written_at = models.DateTimeField(null=True, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True)  # not written again before
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    executed_at = models.DateTimeField(null=True, blank=True)
    result = models.JSONField(null=True, blank=True)
    error = models.TextField(blank=True, default="")

    objects = CommandQuerySet.as_manager()

    if TYPE_CHECKING:
        events: RelatedManager[CommandEvent]

    class Meta:
        verbose_name = "command"
        ordering = ["-created_at", "-seq"]
        constraints = [
            models.UniqueConstraint(fields=["agent", "seq"], name="command_seq_once"),
            models.UniqueConstraint(
                fields=["account", "created_by", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="command_once_per_key",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-created_at"], name="command_newest"),
            models.Index(
                fields=["deliver_at", "seq"],
                condition=Q(status="scheduled"),
                name="command_due",
            ),
            models.Index(fields=["agent", "status", "deliver_at", "seq"], name="command_of_agent"),
            models.Index(
                fields=["lease_until"], condition=Q(status="leased"), name="command_leased"
            ),
            models.Index(
                fields=["retry_at"], condition=Q(status="delivered"), name="command_unanswered"
            ),
            models.Index(
                fields=["expires_at"],
                condition=Q(status__in=["scheduled", "leased", "delivered"]),
                name="command_expiring",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.command_type} {self.pk}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self._state.adding:
            self.account_id = self.agent.account_id
        super().save(*args, **kwargs)


class CommandEvent(models.Model):
    """One step of a command; written once, never changed. `kind` is a status, or a remark."""

    command = models.ForeignKey(ScheduledCommand, on_delete=models.CASCADE, related_name="events")
    kind = models.CharField(max_length=32)
    attempt = models.PositiveIntegerField(default=0)
    actor = models.CharField(max_length=255, blank=True, default="")
    data = models.JSONField(default=dict, blank=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ["at", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["command", "kind", "attempt"], name="command_event_once"
            )
        ]
        indexes = [models.Index(fields=["at"], name="command_event_at")]

    def __str__(self) -> str:
        return f"{self.command_id} {self.kind}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("command events are append-only")
        super().save(*args, **kwargs)
