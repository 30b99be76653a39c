"""The endpoints of models that superusers have added as agents."""

from __future__ import annotations

from django.db import models

from sessions_app.agents.endpoint import MOST_URL


class AgentEndpoint(models.Model):
    """An agent for every account; `name` is its key. `sealed_key` is read by the service alone."""

    name = models.CharField(max_length=64, unique=True)
    base_url = models.CharField(max_length=MOST_URL, verbose_name="base URL")
    model = models.CharField(max_length=255)
    sealed_key = models.TextField(blank=True, default="", editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.name
