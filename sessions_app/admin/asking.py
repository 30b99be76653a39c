"""What is asked of an agent, as a form."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminSplitDateTime

from accounts.models import Account
from realtime.core.errors import Conflict, GatewayError
from sessions_app.admin.detail import AskingForm
from sessions_app.models import BulkSend, ScheduledCommand
from sessions_app.services import bulk, commands
from sessions_app.services.command_request import MAX_PAYLOAD_BYTES, TYPE_LENGTH

# PROTOCOLS.md 1.4; agents of other makes know others.
KNOWN_TYPES = (
    "schedule_message",
    "send_message_now",
    "cancel_scheduled",
    "set_rule",
    "update_plan",
    "context_update",
    "context_reset",
    "upload_retry",
    "emit_event",
)
REQUEST = ("command_type", "payload", "priority", "deliver_at", "expires_at", "delivery")


def _moment(name: str, help_text: str) -> forms.Field:
    widget = AdminSplitDateTime()
    for part, what in zip(widget.widgets, ("date", "time"), strict=True):
        part.attrs["aria-label"] = f"{name}: {what}"
    return forms.SplitDateTimeField(
        label=name, required=False, widget=widget, help_text=f"{help_text} In UTC."
    )


class RequestForm(AskingForm):
    """The fields that a command and a bulk have in common; the service checks them."""

    tenant = forms.ModelChoiceField(Account.objects.all(), empty_label=None, label="Account")
    command_type = forms.CharField(
        max_length=TYPE_LENGTH,
        widget=forms.TextInput(attrs={"class": "vTextField", "list": "command-types"}),
        help_text="What the agent is to do; any word that it knows.",
    )
    payload = forms.CharField(
        initial="{}",
        widget=forms.Textarea(attrs={"class": "vLargeTextField code", "rows": 8}),
        help_text=f"A JSON object of up to {MAX_PAYLOAD_BYTES // 1024} KiB, such as"
        ' {"thread_id": "t", "text": "hello"} for send_message_now.',
    )
    priority = forms.ChoiceField(choices=ScheduledCommand.Priority.choices)
    deliver_at = _moment("Deliver at", "Held here until then; empty: now.")
    expires_at = _moment("Expires at", "Not delivered after that; empty: it waits for ever.")
    delivery = forms.ChoiceField(
        choices=[
            (ScheduledCommand.Delivery.AT_LEAST_ONCE, "At least once: again if never answered"),
            (ScheduledCommand.Delivery.AT_MOST_ONCE, "At most once: never written twice"),
        ]
    )

    def clean_payload(self) -> Any:
        try:
            return json.loads(self.cleaned_data["payload"])
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(f"This is not JSON: {error}") from None

    def request(self, given: dict[str, Any]) -> dict[str, Any]:
        return {name: given[name] for name in REQUEST}


class CommandForm(RequestForm):
    """Sent twice, it is one command: the form as it was shown has a key."""

    agent_id = forms.CharField(
        label="Agent",
        max_length=255,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text="Its id, such as edge_15551234567; it may never have been here.",
    )
    idempotency_key = forms.CharField(widget=forms.HiddenInput(), required=False)

    class Meta:
        model = ScheduledCommand
        fields: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "idempotency_key" in self.fields:  # absent where a command is only shown
            self.fields["idempotency_key"].initial = _new_key

    def ask(self, given: dict[str, Any]) -> Any:
        command, _ = commands.schedule(
            principal=self.acting(given.get("tenant")),
            agent_id=given["agent_id"],
            idempotency_key=given["idempotency_key"],
            **self.request(given),
        )
        return command

    def refuse(self, error: GatewayError) -> None:
        if isinstance(error, Conflict):
            shown: dict[str, Any] = dict(self.data.items())
            self.data = shown | {"idempotency_key": _new_key()}
            words = "This form has sent another command already. Save again to send this one, too."
            self.add_error(None, words)
        else:
            super().refuse(error)


class BulkForm(RequestForm):
    pattern = forms.CharField(
        label="Agents",
        initial="*",
        max_length=255,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text="Whose ids fit: * stands for any text, ? for one character.",
    )
    online = forms.ChoiceField(
        label="Of these",
        required=False,
        choices=[("", "all"), ("yes", "those online now"), ("no", "those offline now")],
    )

    class Meta:
        model = BulkSend
        fields: tuple[str, ...] = ()

    def ask(self, given: dict[str, Any]) -> Any:
        return bulk.start(
            principal=self.acting(given.get("tenant")),
            pattern=given["pattern"],
            online={"yes": True, "no": False}.get(given["online"]),
            **self.request(given),
        )


def _new_key() -> str:
    return f"form-{uuid.uuid4().hex}"
