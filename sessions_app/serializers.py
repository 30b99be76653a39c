"""Shapes of the JSON API; rules are the services'."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.models import EdgeAgent
from sessions_app.models import CommandEvent, Media, Presence, ScheduledCommand


class ConnectionSerializer(serializers.ModelSerializer[Presence]):
    class Meta:
        model = Presence
        fields = [
            "id",
            "user",
            "protocol",
            "place",
            "address",
            "role",
            "since",
            "last_seen",
            "queued_bytes",
            "node",
        ]
        read_only_fields = fields


class MemberSerializer(serializers.Serializer[Any]):
    client_id = serializers.CharField(allow_null=True, help_text="null: its wire has no such name")
    user = serializers.CharField(allow_null=True)
    group = serializers.CharField(allow_null=True, help_text="of 003; null on the other wires")
    protocol = serializers.CharField()
    since = serializers.DateTimeField()
    last_seen = serializers.DateTimeField()


# --- messages of 003 ---


class NewGroupMessage(serializers.Serializer[Any]):
    """For the schema; the rules are `realtime.core.group_messages`'. Other fields are dropped."""

    msg_type = serializers.ChoiceField(
        ["msg", "cmd", "heartbeat", "presence"], required=False, default="msg"
    )
    cmd = serializers.CharField(required=False, allow_null=True)
    msg = serializers.CharField(required=False, allow_null=True)
    payload = serializers.DictField(required=False)


class GroupMessage(NewGroupMessage):
    version = serializers.CharField()
    target = serializers.ChoiceField(["group", "direct"])
    from_id = serializers.CharField()
    to_id = serializers.CharField(allow_null=True)
    group_id = serializers.CharField(allow_null=True)
    sent_at = serializers.DateTimeField()


# --- topics ---


class Published(serializers.Serializer[Any]):
    channel = serializers.CharField()
    published = serializers.BooleanField()


# --- commands for edge agents ---


class ErrorText(serializers.Serializer[Any]):
    code = serializers.CharField()
    message = serializers.CharField()
    details = serializers.DictField(required=False)


class ErrorBody(serializers.Serializer[Any]):
    error = ErrorText()


class NewCommand(serializers.Serializer[Any]):
    """For the schema; the rules are `services.command_request`'s."""

    agent_id = serializers.CharField(max_length=255)
    command_type = serializers.CharField(max_length=128)
    payload = serializers.DictField()
    priority = serializers.ChoiceField(
        choices=ScheduledCommand.Priority.choices, required=False, allow_null=True
    )
    deliver_at = serializers.DateTimeField(required=False, allow_null=True)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)
    idempotency_key = serializers.CharField(max_length=255, required=False, allow_null=True)
    delivery = serializers.ChoiceField(
        choices=ScheduledCommand.Delivery.choices, required=False, allow_null=True
    )


class Command(serializers.ModelSerializer[ScheduledCommand]):
    command_id = serializers.CharField(source="id")
    agent_id = serializers.CharField(source="agent.agent_id")

    class Meta:
        model = ScheduledCommand
        fields: tuple[str, ...] = (
            "command_id",
            "agent_id",
            "seq",
            "command_type",
            "status",
            "priority",
            "delivery",
            "created_by",
            "created_at",
            "deliver_at",
            "expires_at",
            "idempotency_key",
            "attempts",
            "written_at",
            "acknowledged_at",
            "executed_at",
            "result",
            "error",
        )
        read_only_fields: tuple[str, ...] = fields


class CommandWithPayload(Command):
    payload = serializers.DictField()

    class Meta(Command.Meta):
        fields = (*Command.Meta.fields, "payload")
        read_only_fields = fields


class Step(serializers.ModelSerializer[CommandEvent]):
    class Meta:
        model = CommandEvent
        fields = ("kind", "attempt", "actor", "data", "at")
        read_only_fields = fields


class CommandWithEvents(CommandWithPayload):
    events = Step(many=True)

    class Meta(CommandWithPayload.Meta):
        fields = (*CommandWithPayload.Meta.fields, "events")
        read_only_fields = fields


class Agent(serializers.ModelSerializer[EdgeAgent]):
    online = serializers.BooleanField()
    queue_depth = serializers.IntegerField()
    last_seen = serializers.DateTimeField(source="last_seen_at", allow_null=True)
    status = serializers.DictField(help_text="What the agent said of itself last.")

    class Meta:
        model = EdgeAgent
        fields = (
            "agent_id",
            "online",
            "queue_depth",
            "last_seen",
            "status",
            "status_at",
            "is_active",
            "created_at",
        )
        read_only_fields = fields


# --- the agent's HTTP fallback (PROTOCOLS.md 1.7); for the schema: agents say more than we read ---


class Registration(serializers.Serializer[Any]):
    edge_agent_id = serializers.CharField(required=False)
    user_phone = serializers.CharField(required=False)
    auth_token = serializers.CharField(required=False, write_only=True)
    registration_token = serializers.CharField(required=False, write_only=True)


class Registered(serializers.Serializer[Any]):
    edge_agent_id = serializers.CharField()
    status = serializers.CharField()


class PendingEvent(serializers.Serializer[Any]):
    event_id = serializers.CharField()
    event_type = serializers.CharField()
    thread_id = serializers.CharField(required=False)
    details = serializers.DictField()


class SyncBody(serializers.Serializer[Any]):
    edge_agent_id = serializers.CharField()
    last_command_id = serializers.CharField(required=False, allow_null=True)
    pending_events = PendingEvent(many=True, required=False)
    status = serializers.DictField(required=False)


class CommandFrame(serializers.Serializer[Any]):
    command_id = serializers.CharField()
    command_type = serializers.CharField()
    priority = serializers.CharField()
    timestamp = serializers.CharField()
    payload = serializers.DictField()


class Synced(serializers.Serializer[Any]):
    commands = CommandFrame(many=True)
    ack_events = serializers.ListField(child=serializers.CharField())


class AckBody(serializers.Serializer[Any]):
    command_id = serializers.CharField()
    status = serializers.CharField(required=False)
    success = serializers.BooleanField(required=False)
    error = serializers.CharField(required=False, allow_null=True)
    completed_at = serializers.CharField(required=False)
    timestamp = serializers.CharField(required=False)


class Acknowledged(serializers.Serializer[Any]):
    recorded = serializers.BooleanField()


class MessageBody(serializers.Serializer[Any]):
    thread_id = serializers.CharField(required=False)
    sender = serializers.CharField(required=False)
    filtered_text = serializers.CharField(required=False)


class MessageTaken(serializers.Serializer[Any]):
    should_respond = serializers.BooleanField()


class WordsSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=2000)


class Uploaded(serializers.ModelSerializer[Media]):
    """The answer to an upload. PROTOCOLS.md 2.11."""

    path = serializers.CharField(source="id")

    class Meta:
        model = Media
        fields = ["path", "mime_type", "filename"]
        read_only_fields = fields


class WhatToSign(serializers.Serializer[Any]):
    path = serializers.CharField()


class SignedLink(serializers.Serializer[Any]):
    path = serializers.CharField()
    ft = serializers.CharField()
    url = serializers.CharField()
    expires_at = serializers.DateTimeField()
