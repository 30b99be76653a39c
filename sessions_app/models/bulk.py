"""The same command for many agents: asked for once, queued by the dispatcher bit by bit."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q


class BulkSend(models.Model):
    """`agent_ids` are those that fitted when it was asked for, in the order of their ids.

    The first `done` of them are dealt with; `refused` holds `{"agent_id","error"}`. `request` is
    what `commands.schedule` takes, besides the agent. `finished_at`: done with all, or stopped.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey(
        "accounts.Account", on_delete=models.CASCADE, related_name="bulk_sends", editable=False
    )
    created_by = models.CharField(max_length=255)
    created_at = models.DateTimeField()
    pattern = models.CharField(max_length=255)
    request = models.JSONField(default=dict)
    agent_ids = models.JSONField(default=list)
    total = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    refused = models.JSONField(default=list)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(
                fields=["created_at"], condition=Q(finished_at=None), name="bulk_unfinished"
            )
        ]

    def __str__(self) -> str:
        return f"{self.request.get('command_type', '')} to {self.pattern}"
