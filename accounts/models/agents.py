"""Edge agents: machines behind NAT that take commands. Source: PROTOCOLS.md section 1."""

from __future__ import annotations

import datetime as dt

from django.db import models
from django.db.models import Q

from accounts.models.people import MAX_ID, Account


class EdgeAgentQuerySet(models.QuerySet["EdgeAgent"]):
    def with_secret(self, digest: str, now: dt.datetime) -> EdgeAgentQuerySet:
        """Whose secret has this SHA-256: the newest, or the one before while they overlap."""
        before = Q(previous_digest=digest, previous_until__gt=now)
        return self.filter(Q(secret_digest=digest) | before, is_active=True)


class EdgeAgent(models.Model):
    """One agent of one account, known since its first connection or its first command.

    Its own secret is a choice: without one the account `default`'s agents show EDGE_SECRET.
    `connection` is the socket that holds the agent now; a newer one replaces it.
    """

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="edge_agents")
    agent_id = models.CharField(max_length=MAX_ID)
    secret_digest = models.CharField(max_length=64, blank=True, default="", editable=False)
    previous_digest = models.CharField(max_length=64, blank=True, default="", editable=False)
    previous_until = models.DateTimeField(null=True, editable=False)
    is_active = models.BooleanField(default=True)
    connection = models.CharField(max_length=128, blank=True, default="", editable=False)
    last_seq = models.PositiveBigIntegerField(default=0, editable=False)
    status = models.JSONField(default=dict, blank=True, editable=False)
    status_at = models.DateTimeField(null=True, editable=False)
    last_seen_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = EdgeAgentQuerySet.as_manager()

    class Meta:
        ordering = ["agent_id"]
        constraints = [
            models.UniqueConstraint(fields=["account", "agent_id"], name="agent_once_per_account")
        ]
        indexes = [models.Index(fields=["secret_digest"], name="agent_by_secret")]

    def __str__(self) -> str:
        return self.agent_id

    @property
    def handle(self) -> str:
        return agent_handle(self.account.slug, self.agent_id)


def agent_handle(account: str, agent_id: str) -> str:
    """The address on which a revocation of this agent arrives."""
    return f"agent:{account}:{agent_id}"
