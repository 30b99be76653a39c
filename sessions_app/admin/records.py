"""The records as an administrator may look at them: nothing here is edited by hand."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import F, QuerySet
from django.http import HttpRequest

from accounts.admin.scope import AccountAdmin, acting
from sessions_app.models import Run, Session, SessionEvent

NEWEST_EVENTS = 200


class EventInline(admin.TabularInline):
    """The end of the log; the page shows a session only to whom AccountAdmin lets it."""

    model = SessionEvent
    template = "admin/sessions_app/events.html"
    fields = ("seq", "kind", "author", "content", "shown_run", "created_at")
    readonly_fields = fields
    ordering = ("seq",)
    extra = 0
    can_delete = False
    verbose_name_plural = f"newest {NEWEST_EVENTS} events"

    def get_queryset(self, request: HttpRequest) -> QuerySet[SessionEvent]:
        rows = super().get_queryset(request).select_related("run")
        return rows.filter(seq__gt=F("session__last_seq") - NEWEST_EVENTS)

    @admin.display(description="run")
    def shown_run(self, row: SessionEvent) -> str:
        return str(row.run.uuid)[:8] if row.run else "-"

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return acting(request).is_admin

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Session)
class SessionAdmin(AccountAdmin):
    list_display = ("key", "label", "owner", "agent", "account", "last_seq", "updated_at")
    list_filter = ("channel", "agent")
    list_select_related = ("account",)
    search_fields = ("key", "label", "owner")
    ordering = ("-updated_at",)
    inlines = (EventInline,)


@admin.register(Run)
class RunAdmin(AccountAdmin):
    account_path = "session__account__slug"
    list_display = ("uuid", "status", "session", "agent", "requested_by", "started_at", "node")
    list_filter = ("status", "agent")
    list_select_related = ("session",)
    search_fields = ("session__key", "requested_by", "node")
    ordering = ("-started_at",)
