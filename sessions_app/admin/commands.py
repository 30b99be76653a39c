"""Commands: the queue, one command's way, and the same one for many agents."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.core.cache import cache
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from accounts.admin.scope import acting
from accounts.admin.times import ago, left
from accounts.models import Account
from sessions_app.admin import filters
from sessions_app.admin.asking import KNOWN_TYPES, REQUEST, BulkForm, CommandForm
from sessions_app.admin.chart import Chart
from sessions_app.admin.detail import DetailAdmin, mark
from sessions_app.admin.steps import Step, standing
from sessions_app.models import OPEN, TRANSITIONS, BulkSend, ScheduledCommand, Status
from sessions_app.services import backlog, bulk, commands

CHART_LASTS_S = 5  # its past changes once a minute, and costs more than the list
ADDING = {"title": "Send a command", "command_types": KNOWN_TYPES}
AGAIN = (Status.FAILED, Status.EXPIRED, Status.DEAD)


@admin.register(ScheduledCommand)
class CommandAdmin(DetailAdmin):
    form = CommandForm
    asked = ("agent_id", *REQUEST, "idempotency_key")
    list_display = (
        "command_type",
        "buttons",
        "shown_status",
        "shown_agent",
        "due",
        "attempts",
        "age",
        "created_by",
    )
    list_filter = (filters.StatusFilter, filters.AgentFilter, filters.TypeFilter, "account")
    list_select_related = ("account", "agent")
    search_fields = ("id", "agent__agent_id", "created_by")
    show_full_result_count = False
    list_per_page = 50
    actions = ("cancel_selected", "retry_selected")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ScheduledCommand]:
        rows: QuerySet[ScheduledCommand] = super().get_queryset(request)
        return rows

    # --- what is shown ---

    @admin.display(description="status", ordering="status")
    def shown_status(self, row: ScheduledCommand) -> SafeString:
        return mark(row.status)

    @admin.display(description="agent", ordering="agent__agent_id")
    def shown_agent(self, row: ScheduledCommand) -> str:
        return row.agent.agent_id

    @admin.display(description="due", ordering="deliver_at")
    def due(self, row: ScheduledCommand) -> SafeString | str:
        """Until when it is held; what is due already is only waited for."""
        if row.status == Status.SCHEDULED and row.deliver_at > timezone.now():
            return format_html("in {}", left(row.deliver_at))
        return "now" if row.status in (Status.SCHEDULED, Status.LEASED) else "-"

    @admin.display(description="sent", ordering="created_at")
    def age(self, row: ScheduledCommand) -> SafeString:
        return format_html("{} ago", ago(row.created_at))

    @admin.display(description="do")
    def buttons(self, row: ScheduledCommand) -> SafeString | str:
        about = f"{row.command_type} to {row.agent.agent_id}, {row.pk[-6:]}"
        shown = []
        if Status.CANCELLED in TRANSITIONS[row.status] and row.status in OPEN:
            shown.append(self.button("Cancel", name="command_cancel", about=about, key=row.pk))
        if row.status in AGAIN:
            shown.append(self.button("Retry", name="command_retry", about=about, key=row.pk))
        return shown[0] if shown else "-"

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        if not self.has_view_permission(request):
            return super().changelist_view(request, extra_context)
        context = {"chart": _chart(request), **(extra_context or {})}
        return super().changelist_view(request, context)

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        kwargs["extra_context"] = ADDING
        return super().add_view(request, *args, **kwargs)

    def about(self, request: HttpRequest, row: ScheduledCommand) -> dict[str, Any]:
        who = acting(request, row.account)
        steps = [Step(event) for event in commands.history(principal=who, command_id=row.pk)]
        return {
            "title": f"{row.command_type} to {row.agent}",
            "buttons": self.buttons(row),
            "status": mark(row.status),
            "due": self.due(row),
            "standing": standing(row, steps),
            "steps": steps,
            "payload": _readable(row.payload),
            "result": "" if row.result is None else _readable(row.result),
        }

    # --- what is done ---

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<str:pk>/cancel/", view(self.cancel_view), name="command_cancel"),
            path("<str:pk>/retry/", view(self.retry_view), name="command_retry"),
            *super().get_urls(),
        ]

    @method_decorator(require_POST)
    def cancel_view(self, request: HttpRequest, pk: str) -> HttpResponse:
        return self.do(request, self.get_queryset(request).filter(pk=pk), self._cancel)

    @method_decorator(require_POST)
    def retry_view(self, request: HttpRequest, pk: str) -> HttpResponse:
        return self.do(request, self.get_queryset(request).filter(pk=pk), self._retry)

    @admin.action(description="Cancel selected commands", permissions=["decide"])
    def cancel_selected(self, request: HttpRequest, rows: QuerySet[ScheduledCommand]) -> None:
        self.do(request, rows, self._cancel)

    @admin.action(description="Retry selected commands", permissions=["decide"])
    def retry_selected(self, request: HttpRequest, rows: QuerySet[ScheduledCommand]) -> None:
        self.do(request, rows, self._retry)

    def _cancel(self, request: HttpRequest, row: ScheduledCommand) -> str:
        commands.cancel(principal=acting(request, row.account), command_id=row.pk)
        known = "; the agent may have it already" if row.attempts else ""
        return f"Cancelled {row}{known}."

    def _retry(self, request: HttpRequest, row: ScheduledCommand) -> str:
        commands.retry(principal=acting(request, row.account), command_id=row.pk)
        return f"Put {row} back into the queue."


@admin.register(BulkSend)
class BulkAdmin(DetailAdmin):
    form = BulkForm
    asked = ("pattern", "online", *REQUEST)
    list_display = ("__str__", "buttons", "bar", "created_by", "age")
    list_select_related = ("account",)
    list_filter = ("account",)

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        kwargs["extra_context"] = ADDING | {"title": "Send a command to many agents"}
        return super().add_view(request, *args, **kwargs)

    @admin.display(description="done")
    def bar(self, row: BulkSend) -> SafeString:
        return format_html(
            '<progress max="{}" value="{}" aria-label="{}"></progress> {} of {}',
            row.total,
            row.done,
            f"Queued for {row}",
            row.done,
            row.total,
        )

    @admin.display(description="sent", ordering="created_at")
    def age(self, row: BulkSend) -> SafeString:
        return format_html("{} ago", ago(row.created_at))

    @admin.display(description="do")
    def buttons(self, row: BulkSend) -> SafeString | str:
        if row.finished_at:
            return "-"
        return self.button("Stop", name="bulk_stop", about=str(row), key=row.pk)

    def about(self, request: HttpRequest, row: BulkSend) -> dict[str, Any]:
        return {
            "bar": self.bar(row),
            "buttons": self.buttons(row),
            "payload": _readable(row.request["payload"]),
            "queued": row.done - len(row.refused),
        }

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.stop_view)
        return [path("<uuid:pk>/stop/", view, name="bulk_stop"), *super().get_urls()]

    @method_decorator(require_POST)
    def stop_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        return self.do(request, self.get_queryset(request).filter(pk=pk), self._stop)

    def _stop(self, request: HttpRequest, row: BulkSend) -> str:
        stopped = bulk.stop(principal=acting(request, row.account), bulk_id=row.pk)
        return f"Stopped after {stopped.done} of {stopped.total} agents; what is queued stays."


def _readable(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _chart(request: HttpRequest) -> Chart:
    """The last hour of what the person may see, and what is open at this moment."""
    who = acting(request)
    account = None if who.is_superuser else Account.objects.get(slug=who.account)
    key = f"backlog:{account.pk if account else '*'}"
    past = cache.get(key)
    if past is None:
        past = backlog.last_hour(account)
        cache.set(key, past, CHART_LASTS_S)
    return Chart([*past[:-1], backlog.open_now(account)])
