"""Shapes of the JSON API; rules are the services'."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.utils import timezone
from rest_framework import serializers

from accounts.models import ApiKey, Pairing
from accounts.services import lifetimes
from accounts.services.scopes import SCOPES
from realtime.core.errors import InvalidParams


class LogIn(serializers.Serializer[Any]):
    username = serializers.CharField(max_length=150)
    password = serializers.CharField(max_length=4096, trim_whitespace=False, write_only=True)


class Refresh(serializers.Serializer[Any]):
    refresh = serializers.CharField(max_length=4096)


class TokenPair(serializers.Serializer[Any]):
    access = serializers.CharField()
    refresh = serializers.CharField()


class Empty(serializers.Serializer[Any]):
    pass


class NewKey(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=list(SCOPES)), required=False, default=list
    )
    owner_id = serializers.CharField(max_length=255, required=False, allow_blank=True, default="")
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    expires_in = serializers.CharField(
        max_length=16, required=False, default="", help_text="30d, 12h, 15m, 90s or seconds"
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        expires_in = attrs.pop("expires_in")
        if expires_in and attrs["expires_at"]:
            raise serializers.ValidationError("give expires_at or expires_in, not both")
        if expires_in:
            attrs["expires_at"] = timezone.now() + _lifetime(expires_in)
        return attrs


def _lifetime(text: str) -> dt.timedelta:
    try:
        return lifetimes.parse(text)
    except InvalidParams as error:
        raise serializers.ValidationError({"expires_in": str(error)}) from None


class Key(serializers.ModelSerializer[ApiKey]):
    scopes = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = ApiKey
        fields: tuple[str, ...] = (
            "id",
            "name",
            "prefix",
            "scopes",
            "owner_id",
            "created_at",
            "expires_at",
            "last_used_at",
        )
        read_only_fields: tuple[str, ...] = fields


class ShownKey(Key):
    key = serializers.CharField(help_text="Shown this once.")

    class Meta(Key.Meta):
        fields = (*Key.Meta.fields, "key")
        read_only_fields = fields


class PairingRow(serializers.ModelSerializer[Pairing]):
    account_id = serializers.CharField(source="account_key")

    class Meta:
        model = Pairing
        fields = (
            "code",
            "sender_id",
            "channel",
            "chat_id",
            "account_id",
            "user_id",
            "status",
            "address",
            "user_agent",
            "created_at",
            "expires_at",
            "decided_by",
            "decided_at",
            "approved_until",
        )
        read_only_fields = fields


class ApproveBody(serializers.Serializer[Any]):
    approved_by = serializers.CharField(max_length=64, required=False, allow_blank=True, default="")


class RevokeBody(serializers.Serializer[Any]):
    channel = serializers.CharField(max_length=64, required=False, default="browser")


class PairedDevice(serializers.Serializer[Any]):
    """PROTOCOLS.md 2.6; times in milliseconds."""

    sender_id = serializers.CharField()
    channel = serializers.CharField()
    chat_id = serializers.CharField()
    paired_at = serializers.IntegerField()
    paired_by = serializers.CharField()
    metadata = serializers.DictField(required=False)


class Paired(serializers.Serializer[Any]):
    paired = PairedDevice()


class Denied(serializers.Serializer[Any]):
    denied = serializers.BooleanField()


class Revoked(serializers.Serializer[Any]):
    revoked = serializers.BooleanField()
