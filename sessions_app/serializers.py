from __future__ import annotations

from typing import Any

from rest_framework import serializers

from sessions_app.models import Media, Presence


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
