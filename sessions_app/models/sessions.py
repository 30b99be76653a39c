"""Sessions with their one event log, and the runs of agents in them.

One log serves every protocol: 001 reads it as messages, 002 as events with a uuid and `data`.
"""

from __future__ import annotations

import secrets
import uuid
from typing import TYPE_CHECKING, Any

from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from sessions_app.moments import rfc3339

if TYPE_CHECKING:
    from django_stubs_ext.db.models.manager import RelatedManager

    from sessions_app.models.control import ControlRequest

# What one answer holds at most: a longer one would count against a peer as reading too slowly.
MAX_MESSAGES_CHARACTERS = 1_000_000

# Parts of a message that a wire shows when an event's `data` has them. PROTOCOLS.md 2.7.
MESSAGE_EXTRAS = ("thinking", "media_refs", "tool_calls", "tool_call_id", "is_error", "partial")


def new_uuid() -> str:
    return str(uuid.uuid4())


def new_public_id() -> str:
    return f"session_{secrets.token_urlsafe(18)}"


class Session(models.Model):
    """One conversation of one owner; `key` is the caller's opaque name for it.

    `owner` is a principal's id (text): a person needs no User row. `public_id` is its name in 002.
    """

    public_id = models.CharField(max_length=64, unique=True, default=new_public_id, editable=False)

    account = models.ForeignKey(
        "accounts.Account", on_delete=models.CASCADE, related_name="sessions"
    )
    key = models.CharField(max_length=512)
    owner = models.CharField(max_length=255)
    agent = models.CharField(max_length=255)
    label = models.CharField(max_length=255, blank=True, default="")
    channel = models.CharField(max_length=32, default="ws")
    model = models.CharField(max_length=255, blank=True, default="")
    metadata = models.JSONField(default=dict, blank=True)
    last_seq = models.PositiveBigIntegerField(default=0)
    # Compacting leaves the log whole: the conversation begins after this event, with the summary.
    compacted_seq = models.PositiveBigIntegerField(default=0)
    compactions = models.PositiveIntegerField(default=0)
    summary = models.TextField(blank=True, default="")
    # The connection of the worker that serves it, and since when there is none.
    worker = models.CharField(max_length=128, blank=True, default="", db_index=True)
    worker_left_at = models.DateTimeField(null=True, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)
    context = models.JSONField(default=dict, blank=True)  # of 002's clients: PROTOCOLS.md 3.6
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    if TYPE_CHECKING:
        events: RelatedManager[SessionEvent]
        requests: RelatedManager[ControlRequest]
        runs: RelatedManager[Run]

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "key"], name="session_key_once_per_account")
        ]
        indexes = [
            models.Index(fields=["account", "owner", "-updated_at"], name="session_of_owner")
        ]

    def __str__(self) -> str:
        return self.key

    @transaction.atomic(savepoint=False)
    def append(
        self,
        *,
        kind: str,
        content: str,
        author: str = "",
        data: dict[str, Any] | None = None,
        message_id: str | None = None,
        run: Run | None = None,
        event_uuid: str = "",
    ) -> SessionEvent:
        """Add the next event; `seq` has no gaps because number and row commit together.

        Raises IntegrityError for a message_id or uuid that the session has already; a transaction
        around it is lost then.
        """
        # The update locks the row: parallel appends queue here.
        Session.objects.filter(pk=self.pk).update(last_seq=F("last_seq") + 1, updated_at=Now())
        self.refresh_from_db(fields=["last_seq", "updated_at"])
        return self.events.create(
            seq=self.last_seq,
            uuid=event_uuid or new_uuid(),
            kind=kind,
            author=author,
            content=content,
            data=data or {},
            message_id=message_id or None,
            run=run,
        )

    @property
    def conversation(self) -> models.QuerySet[SessionEvent]:
        """The messages since it was compacted last."""
        return self.events.filter(IS_MESSAGE, seq__gt=self.compacted_seq)

    def messages(self, newest: int, *, before_seq: int | None = None) -> list[dict[str, Any]]:
        """The newest so many events of the conversation as messages, oldest first; as many as fit
        in one frame.
        """
        events = self.conversation.order_by("-seq")
        if before_seq is not None:
            events = events.filter(seq__lt=before_seq)
        messages: list[dict[str, Any]] = []
        room = MAX_MESSAGES_CHARACTERS
        for event in events[:newest].iterator(chunk_size=100):
            room -= len(event.content)
            if room < 0 and messages:
                break
            messages.append(event.message())
        return messages[::-1]


class SessionEvent(models.Model):
    """One entry of a session's log; written once, never changed."""

    class Kind(models.TextChoices):
        USER = "user"
        ASSISTANT = "assistant"
        SYSTEM = "system"
        TOOL = "tool"
        RESULT = "result"  # 002: how a turn ended
        EVENT = "event"  # 002: what else is worth keeping

    # 002's own shape of an event stands in `data["frame"]`, without what every frame has.
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="events")
    seq = models.PositiveBigIntegerField()
    # Text: a client may bring its own, and not every client brings a well-formed UUID.
    uuid = models.CharField(max_length=128, default=new_uuid)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    author = models.CharField(max_length=255, blank=True, default="")
    content = models.TextField(blank=True, default="")
    data = models.JSONField(default=dict, blank=True)
    message_id = models.CharField(max_length=255, null=True, blank=True)
    run = models.ForeignKey(
        "Run", on_delete=models.SET_NULL, null=True, blank=True, related_name="events"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["session", "seq"]
        constraints = [
            models.UniqueConstraint(fields=["session", "seq"], name="event_seq_once"),
            models.UniqueConstraint(fields=["session", "uuid"], name="event_uuid_once"),
            models.UniqueConstraint(
                fields=["session", "message_id"],
                condition=Q(message_id__isnull=False),
                name="event_message_id_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.session_id}/{self.seq} {self.kind}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("session events are append-only")
        super().save(*args, **kwargs)

    def message(self) -> dict[str, Any]:
        """The message object of PROTOCOLS.md 2.7; keys without a value are absent."""
        shown: dict[str, Any] = {
            "id": self.uuid,
            "role": self.kind,
            "content": self.content,
            "created_at": rfc3339(self.created_at),
        }
        if self.kind == self.Kind.USER and self.author:
            shown["sender_id"] = self.author
        return shown | {name: self.data[name] for name in MESSAGE_EXTRAS if name in self.data}


# What a conversation consists of; the other kinds are of 002 alone.
IS_MESSAGE = ~Q(kind__in=[SessionEvent.Kind.RESULT, SessionEvent.Kind.EVENT])


class Run(models.Model):
    """One turn of an agent in a session; at most one is running per session.

    `agent_id` is the text that the client sent (events repeat it), `agent` what it resolved to.
    `node` names the process that runs it; `connection` the connection that asked.
    """

    class Status(models.TextChoices):
        RUNNING = "running"
        COMPLETED = "completed"
        FAILED = "failed"
        CANCELLED = "cancelled"

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="runs")
    agent_id = models.CharField(max_length=255)
    agent = models.CharField(max_length=255)
    node = models.CharField(max_length=64, db_index=True)
    connection = models.CharField(max_length=128, blank=True, default="")
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.RUNNING)
    message_id = models.CharField(max_length=255, blank=True, default="")
    requested_by = models.CharField(max_length=255)
    stream = models.BooleanField(default=False)
    abort_requested_at = models.DateTimeField(null=True, blank=True)
    content = models.TextField(blank=True, default="")
    usage = models.JSONField(default=dict, blank=True)
    error = models.TextField(blank=True, default="")
    started_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["session"], condition=Q(status="running"), name="one_running_run"
            )
        ]

    def __str__(self) -> str:
        return f"{self.pk} {self.status}"

    def answer(self) -> dict[str, Any] | None:
        """What `chat.send` answers (PROTOCOLS.md 2.7); None while it runs, `error` if it failed."""
        match self.status:
            case self.Status.RUNNING:
                return None
            case self.Status.COMPLETED:
                return {"runId": str(self.pk), "content": self.content, "usage": self.usage}
            case self.Status.FAILED:
                return {"error": self.error}
            case _:
                return {"cancelled": True}
