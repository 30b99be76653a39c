"""Shapes of 002's HTTP side, for the schema; the rules are the services'. PROTOCOLS.md 3.6."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class RemoteSession(serializers.Serializer[Any]):
    id = serializers.CharField()
    title = serializers.CharField()
    type = serializers.CharField()
    session_status = serializers.CharField()
    environment_id = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    session_context = serializers.DictField()
    metadata = serializers.DictField()
    active_mount_paths = serializers.ListField(child=serializers.CharField())


class _Page(serializers.Serializer[Any]):
    has_more = serializers.BooleanField()
    first_id = serializers.CharField(allow_null=True)
    last_id = serializers.CharField(allow_null=True)


class RemoteSessions(_Page):
    # `data` is a name of DRF's own, so it is declared where nothing is bound to it.
    def get_fields(self) -> dict[str, Any]:
        return {"data": RemoteSession(many=True), **super().get_fields()}


class SessionEvents(_Page):
    def get_fields(self) -> dict[str, Any]:
        return {
            "data": serializers.ListField(child=serializers.DictField()),
            **super().get_fields(),
        }


class NewRemoteSession(serializers.Serializer[Any]):
    title = serializers.CharField(required=False)
    environment_id = serializers.CharField(required=False)
    agent = serializers.CharField(required=False)
    session_context = serializers.DictField(required=False)
    events = serializers.ListField(child=serializers.DictField(), required=False)


class SessionChange(serializers.Serializer[Any]):
    title = serializers.CharField(required=False)
    session_status = serializers.CharField(required=False)


class SaidInSession(serializers.Serializer[Any]):
    events = serializers.ListField(child=serializers.DictField())


class Watcher(serializers.Serializer[Any]):
    user = serializers.CharField()
    part = serializers.ChoiceField(choices=["viewer", "worker"])
    since = serializers.DateTimeField()


class Watchers(serializers.Serializer[Any]):
    agent = serializers.CharField(help_text="who answers when no worker is there")
    key = serializers.CharField(help_text="the session's name in 001")

    def get_fields(self) -> dict[str, Any]:
        return {"data": Watcher(many=True), **super().get_fields()}


class ShareStatus(serializers.Serializer[Any]):
    is_shared = serializers.BooleanField()


class Environment(serializers.Serializer[Any]):
    environment_id = serializers.CharField()
    name = serializers.CharField()
    kind = serializers.CharField()
    state = serializers.CharField()


class Environments(_Page):
    environments = Environment(many=True)
