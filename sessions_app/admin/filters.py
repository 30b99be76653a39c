"""What the queue can be filtered by; choices are those of the account, and not too many."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import F, QuerySet
from django.http import HttpRequest

from accounts.admin.scope import acting
from accounts.models import EdgeAgent
from sessions_app.models import OPEN, ScheduledCommand, Status
from sessions_app.services import agents

MOST_CHOICES = 20
Choices = list[tuple[str, str]]


class StatusFilter(admin.SimpleListFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("open", "open"), *((status.value, status.value) for status in Status)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value == "open":
            return queryset.filter(status__in=OPEN)
        return queryset.filter(status=value) if value in Status.values else queryset


class _Text(admin.SimpleListFilter):
    """One of the newest, or what the address names."""

    field = ""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        return queryset.none() if "\x00" in value else queryset.filter(**{self.field: value})

    def with_own(self, found: Any) -> Choices:
        own = [self.value()] if self.value() else []
        return [(name, name) for name in sorted({*found, *own})]


class AgentFilter(_Text):
    title = "agent"
    parameter_name = "agent"
    field = "agent__agent_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        rows = EdgeAgent.objects.all()
        if not acting(request).is_superuser:
            rows = rows.filter(account__slug=acting(request).account)
        newest = rows.order_by(F("last_seen_at").desc(nulls_last=True), "-pk")
        return self.with_own(newest.values_list("agent_id", flat=True)[:MOST_CHOICES])


class TypeFilter(_Text):
    title = "type"
    parameter_name = "type"
    field = "command_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        rows: QuerySet[ScheduledCommand] = model_admin.get_queryset(request)
        # Of the newest commands: all of them would be read for the few kinds there are.
        newest = rows.order_by("-created_at", "-seq").values_list("command_type", flat=True)[:1000]
        return self.with_own(list(dict.fromkeys(newest))[:MOST_CHOICES])


class OnlineFilter(admin.SimpleListFilter):
    title = "online"
    parameter_name = "online"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("yes", "online"), ("no", "offline")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "yes":
                return queryset.filter(agents.holder())
            case "no":
                return queryset.exclude(agents.holder())
            case _:
                return queryset
