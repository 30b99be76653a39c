"""What a program shows at the door: API keys, and the families of refresh tokens."""

from __future__ import annotations

import datetime as dt
import uuid

from django.db import models
from django.db.models import Q

from accounts.models.people import MAX_ID, Account, User


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def usable(self, now: dt.datetime) -> ApiKeyQuerySet:
        unexpired = Q(expires_at=None) | Q(expires_at__gt=now)
        someone = Q(user=None) | Q(user__is_active=True)
        return self.filter(unexpired, someone, revoked_at=None)


class ApiKey(models.Model):
    """`gwk_<prefix>_<secret>`, of which only the SHA-256 is kept. Source: PROTOCOLS.md 2.4 (1b).

    `user` is empty for a key made by somebody without a User row (who holds the gateway token): it
    acts as `owner_id`, with what its scopes give.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="api_keys")
    user = models.ForeignKey(
        User, on_delete=models.CASCADE, null=True, blank=True, related_name="api_keys"
    )
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=8, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(default=list, blank=True)
    owner_id = models.CharField(
        max_length=MAX_ID, blank=True, help_text="The user id this key acts as; empty: its user's."
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        constraints = [
            models.CheckConstraint(
                condition=Q(user__isnull=False) | ~Q(owner_id=""), name="key_acts_as_somebody"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"

    @property
    def handle(self) -> str:
        return f"key:{self.pk}"

    @property
    def acts_as(self) -> str:
        """The user id that this key forces on whoever shows it."""
        return self.owner_id or (self.user.username if self.user else "")


class RefreshFamily(models.Model):
    """All refresh tokens that descend from one log-in; only the newest (`jti`) may be used.

    The token's text is kept nowhere.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="refresh_families")
    jti = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "refresh families"

    def __str__(self) -> str:
        return str(self.pk)
