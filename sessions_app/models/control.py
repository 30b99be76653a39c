"""What is asked in a session of 002, by either side, and what became of it."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q

from sessions_app.models.sessions import Session, new_uuid
from sessions_app.moments import rfc3339


class ControlRequest(models.Model):
    """One `control_request`, answered once: PROTOCOLS.md 3.4, 3.5.

    A viewer's is for the session or its worker; a worker's is a question for the session's people.
    `connection` is the asking viewer's; empty when it was asked over HTTP. `response` is the inner
    object of its `control_response`, without the request's id.
    """

    class Asker(models.TextChoices):
        VIEWER = "viewer"
        WORKER = "worker"

    class Status(models.TextChoices):
        PENDING = "pending"
        ANSWERED = "answered"
        CANCELLED = "cancelled"

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="requests")
    asker = models.CharField(max_length=8, choices=Asker.choices)
    request_id = models.CharField(max_length=255)
    uuid = models.CharField(max_length=36, default=new_uuid, editable=False)  # of its frame
    request = models.JSONField(default=dict)
    connection = models.CharField(max_length=128, blank=True, default="")
    asked_by = models.CharField(max_length=255)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.PENDING)
    response = models.JSONField(default=dict, blank=True)
    decided_by = models.CharField(max_length=255, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["created_at", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["session", "asker", "request_id"], name="control_request_once"
            )
        ]
        indexes = [
            models.Index(fields=["session"], condition=Q(status="pending"), name="control_pending")
        ]

    def __str__(self) -> str:
        return f"{self.request.get('tool_name') or self.subtype} ({self.request_id})"

    @property
    def subtype(self) -> str:
        return str(self.request.get("subtype", ""))

    def frame(self) -> dict[str, Any]:
        """The `control_request`."""
        return {
            "type": "control_request",
            "uuid": self.uuid,
            "session_id": self.session.public_id,
            "created_at": rfc3339(self.created_at),
            "request_id": self.request_id,
            "request": self.request,
        }

    def answer(self) -> dict[str, Any]:
        """The `control_response`."""
        return {
            "type": "control_response",
            "session_id": self.session.public_id,
            "created_at": rfc3339(self.decided_at or self.created_at),
            "response": {**self.response, "request_id": self.request_id},
        }
