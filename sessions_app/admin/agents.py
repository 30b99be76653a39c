"""Edge agents: who is there, what waits for them, their secrets, and who is shut out."""

from __future__ import annotations

import datetime as dt
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from accounts.admin.scope import acting
from accounts.admin.times import ago
from accounts.models import Account, EdgeAgent
from accounts.services import agent_secrets
from realtime.core.errors import InvalidParams
from sessions_app.admin.detail import AskingForm, DetailAdmin, mark
from sessions_app.admin.filters import OnlineFilter
from sessions_app.services import agents

NEWEST = 10  # commands on an agent's page
MOST_SHOWN = 3  # of what an agent says of itself, in a row
OVERLAPS = {"12": "12 hours", "168": "7 days", "0": "no time: cut it off now"}  # hours


class NewAgentForm(AskingForm):
    told = ""
    tenant = forms.ModelChoiceField(Account.objects.all(), empty_label=None, label="Account")
    agent_id = forms.CharField(
        label="Agent",
        max_length=255,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text="Its id, such as edge_15551234567. It gets a secret of its own.",
    )

    class Meta:
        model = EdgeAgent
        fields: tuple[str, ...] = ()

    def ask(self, given: dict[str, Any]) -> Any:
        principal = self.acting(given.get("tenant"))
        known = EdgeAgent.objects.filter(
            account__slug=principal.account, agent_id=given["agent_id"]
        )
        if known.exists():
            raise InvalidParams(
                "agent_id: it is known already: see its own page", details={"field": "agent_id"}
            )
        new = agent_secrets.rotate(principal=principal, agent_id=given["agent_id"])
        self.told = _once(new)
        return new.row


@admin.register(EdgeAgent)
class EdgeAgentAdmin(DetailAdmin):
    form = NewAgentForm
    asked = ("agent_id",)
    list_display = ("agent_id", "buttons", "presence", "seen", "waiting", "reported")
    list_filter = (OnlineFilter, "is_active", "account")
    list_select_related = ("account",)
    search_fields = ("agent_id",)
    show_full_result_count = False
    actions = ("deactivate_selected", "activate_selected")

    def get_queryset(self, request: HttpRequest) -> QuerySet[EdgeAgent]:
        return agents.described(super().get_queryset(request))

    # --- what is shown ---

    @admin.display(description="state")
    def presence(self, row: Any) -> SafeString:
        if not row.is_active:
            return mark("shut out", "dead")
        return mark("online", "completed") if row.online else mark("offline", "scheduled")

    @admin.display(description="last seen", ordering="last_seen_at")
    def seen(self, row: EdgeAgent) -> SafeString | str:
        return format_html("{} ago", ago(row.last_seen_at)) if row.last_seen_at else "never"

    @admin.display(description="open commands", ordering="queue_depth")
    def waiting(self, row: Any) -> SafeString:
        queue = reverse(f"{self.admin_site.name}:sessions_app_scheduledcommand_changelist")
        asked = urlencode({"status": "open", "agent": row.agent_id})
        label = f"{row.queue_depth} open commands of {row.agent_id}"
        return format_html(
            '<a href="{}?{}" aria-label="{}">{}</a>', queue, asked, label, row.queue_depth
        )

    @admin.display(description="says of itself")
    def reported(self, row: EdgeAgent) -> str:
        told = [f"{name}: {value}" for name, value in list(row.status.items())[:MOST_SHOWN]]
        return " · ".join(told)[:120] or "-"

    @admin.display(description="do")
    def buttons(self, row: EdgeAgent) -> SafeString:
        return format_html("{} {}", self._send(row), self._door(row))

    def _send(self, row: EdgeAgent) -> SafeString:
        form = reverse(f"{self.admin_site.name}:sessions_app_scheduledcommand_add")
        asked = urlencode({"agent_id": row.agent_id, "tenant": row.account_id})
        return format_html(
            '<a class="button send" href="{}?{}" aria-label="Send a command to {}">Send</a>',
            form,
            asked,
            row.agent_id,
        )

    def _door(self, row: EdgeAgent) -> SafeString:
        verb = "Deactivate" if row.is_active else "Activate"
        name = f"agent_{verb.lower()}"
        return self.button(verb, name=name, about=row.agent_id, key=row.pk)

    def about(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        newest = row.commands.select_related("agent").defer("payload", "result")
        overlap = row.previous_until and row.previous_until > timezone.now()
        return {
            "buttons": self.buttons(row),
            "presence": self.presence(row),
            "seen": self.seen(row),
            "waiting": self.waiting(row),
            "own_secret": bool(row.secret_digest),
            "overlap": row.previous_until if overlap else None,
            "overlaps": OVERLAPS,
            "newest": [(one, mark(one.status), ago(one.created_at)) for one in newest[:NEWEST]],
            "rotate": self.button("Rotate", name="agent_rotate", about=row.agent_id, key=row.pk),
        }

    # --- what is done ---

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        self.tell(request, form.told)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/rotate/", view(self.rotate_view), name="agent_rotate"),
            path("<int:pk>/deactivate/", view(self.deactivate_view), name="agent_deactivate"),
            path("<int:pk>/activate/", view(self.activate_view), name="agent_activate"),
            *super().get_urls(),
        ]

    @method_decorator(require_POST)
    def rotate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.do(request, self.get_queryset(request).filter(pk=pk), self._rotate)

    @method_decorator(require_POST)
    def deactivate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.do(request, self.get_queryset(request).filter(pk=pk), self._deactivate)

    @method_decorator(require_POST)
    def activate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.do(request, self.get_queryset(request).filter(pk=pk), self._activate)

    @admin.action(description="Deactivate selected agents", permissions=["decide"])
    def deactivate_selected(self, request: HttpRequest, rows: QuerySet[EdgeAgent]) -> None:
        self.do(request, rows, self._deactivate)

    @admin.action(description="Activate selected agents", permissions=["decide"])
    def activate_selected(self, request: HttpRequest, rows: QuerySet[EdgeAgent]) -> None:
        self.do(request, rows, self._activate)

    def _rotate(self, request: HttpRequest, row: EdgeAgent) -> str:
        hours = request.POST.get("overlap", "")
        if hours not in OVERLAPS:
            raise InvalidParams(f"overlap: it takes {', '.join(OVERLAPS)} hours")
        new = agent_secrets.rotate(
            principal=acting(request, row.account),
            agent_id=row.agent_id,
            overlap=dt.timedelta(hours=int(hours)),
        )
        return _once(new)

    def _deactivate(self, request: HttpRequest, row: EdgeAgent) -> str:
        self._let_in(request, row, active=False)
        return f"{row} is shut out; its sockets are closed, its commands wait."

    def _activate(self, request: HttpRequest, row: EdgeAgent) -> str:
        self._let_in(request, row, active=True)
        return f"{row} is let in again."

    def _let_in(self, request: HttpRequest, row: EdgeAgent, *, active: bool) -> None:
        who = acting(request, row.account)
        agent_secrets.let_in(principal=who, agent_id=row.agent_id, active=active)


def _once(new: agent_secrets.NewSecret) -> str:
    return f"The secret of {new.row}, shown this once: {new.text}"
