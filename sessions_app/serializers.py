from __future__ import annotations

from rest_framework import serializers

from sessions_app.models import Presence


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
            "node",
        ]
        read_only_fields = fields
