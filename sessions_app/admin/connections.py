"""Connections: who is here now; a word to one, or the end of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from accounts.admin.scope import AccountAdmin, acting
from accounts.admin.times import ago
from realtime.core.errors import GatewayError
from sessions_app.models import Presence
from sessions_app.services import last_seen, nodes, presence

SHOWN = (
    "who",
    "buttons",
    "shown_role",
    "protocol",
    "client",
    "shown_group",
    "address",
    "connected",
    "heard_of",
    "queue",
)


@admin.register(Presence)
class ConnectionAdmin(AccountAdmin):
    list_display = SHOWN
    list_display_links = ("who",)
    list_filter = ("protocol", "role")
    list_select_related = ("account",)
    search_fields = ("id", "user", "address", "place", "client_id")
    ordering = ("-since",)
    readonly_fields = (
        *("buttons", "who", "shown_role", "client", "shown_group"),
        *("connected", "heard_of", "queue"),
    )
    fields = (*SHOWN, "place", "account", "node", "id")
    actions = ("disconnect_selected",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Presence]:
        return super().get_queryset(request).filter(node__in=nodes.live())

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        shown = super().get_changelist_instance(request)
        last_seen.refresh(shown.result_list)
        return shown

    def get_object(self, *args: Any, **kwargs: Any) -> Presence | None:
        row: Presence | None = super().get_object(*args, **kwargs)
        last_seen.refresh([row] if row else [])
        return row

    # --- what is shown ---

    @admin.display(description="who", ordering="user")
    def who(self, row: Presence) -> str:
        return row.user or "(no user id)"

    @admin.display(description="role", ordering="role")
    def shown_role(self, row: Presence) -> str:
        return row.role or "-"

    @admin.display(description="client", ordering="client_id")
    def client(self, row: Presence) -> str:
        return row.client_id or "-"

    @admin.display(description="group", ordering="place")
    def shown_group(self, row: Presence) -> str:
        return row.group or "-"

    @admin.display(description="since", ordering="since")
    def connected(self, row: Presence) -> SafeString:
        return ago(row.since)

    @admin.display(description="last seen")
    def heard_of(self, row: Presence) -> SafeString:
        return ago(row.last_seen)

    @admin.display(description="queue", ordering="queued_bytes")
    def queue(self, row: Presence) -> str:
        """What waits to be read by the peer."""
        return filesizeformat(row.queued_bytes) if row.queued_bytes else "empty"

    @admin.display(description="do")
    def buttons(self, row: Presence) -> SafeString:
        """The text field belongs to a form of its own, which the page's template writes."""
        end = self.button("Disconnect", name="connection_disconnect", about=str(row), key=row.pk)
        if row.protocol in presence.MUTE:
            return end
        return format_html(
            '{} <details class="say"><summary class="button">Message</summary>'
            '<input type="text" name="text" form="say-{}" required maxlength="{}"'
            ' aria-label="Message to {}" autocomplete="off">'
            '<button type="submit" class="button" form="say-{}">Send</button></details>',
            end,
            row.pk,
            presence.LONGEST_MESSAGE,
            row.user or "this connection",
            row.pk,
        )

    # --- what is done ---

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<str:pk>/disconnect/", view(self.disconnect_view), name="connection_disconnect"),
            path("<str:pk>/message/", view(self.message_view), name="connection_message"),
            *super().get_urls(),
        ]

    @method_decorator(require_POST)
    def disconnect_view(self, request: HttpRequest, pk: str) -> HttpResponse:
        return self._do(request, self.get_queryset(request).filter(pk=pk), self._disconnect)

    @method_decorator(require_POST)
    def message_view(self, request: HttpRequest, pk: str) -> HttpResponse:
        return self._do(request, self.get_queryset(request).filter(pk=pk), self._message)

    @admin.action(description="Disconnect selected connections", permissions=["decide"])
    def disconnect_selected(self, request: HttpRequest, queryset: QuerySet[Presence]) -> None:
        self._do(request, queryset, self._disconnect)

    def _do(self, request: HttpRequest, rows: QuerySet[Presence], what: _What) -> HttpResponse:
        if not self.has_decide_permission(request):
            raise PermissionDenied
        found = list(rows.select_related("account"))
        for row in found:
            try:
                self.tell(request, what(request, row))
            except GatewayError as error:
                self.tell(request, str(error), good=False)
        if not found:
            self.tell(request, "This connection has ended already.", good=False)
        return self.back(request)

    def _disconnect(self, request: HttpRequest, row: Presence) -> str:
        presence.disconnect(principal=acting(request, row.account), connection=row.pk)
        return f"Disconnected the {row}."

    def _message(self, request: HttpRequest, row: Presence) -> str:
        text = request.POST.get("text", "")
        presence.message(principal=acting(request, row.account), connection=row.pk, text=text)
        return f"Said to the {row}: {text}"


_What = Callable[[HttpRequest, Presence], str]
