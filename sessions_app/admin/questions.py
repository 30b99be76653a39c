"""What workers ask: an administrator may answer, as any other person of the session."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import truncatechars
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from accounts.admin.scope import AccountAdmin, acting
from accounts.admin.times import ago
from realtime.core import wire
from realtime.core.errors import GatewayError
from sessions_app.models import ControlRequest
from sessions_app.services import questions

SHOWN = ("what", "buttons", "shown_input", "session", "status", "age", "decided_by")
PERMISSION = "can_use_tool"
DONE = {"allow": "Allowed", "deny": "Denied"}
LONGEST_INPUT = 200  # characters, in a list


@admin.register(ControlRequest)
class QuestionAdmin(AccountAdmin):
    account_path = "session__account__slug"
    list_display = SHOWN
    list_display_links = ("what",)
    list_filter = ("status",)
    list_select_related = ("session__account",)
    search_fields = ("session__key", "request_id", "asked_by", "decided_by")
    ordering = ("-created_at",)
    readonly_fields = ("what", "buttons", "age")
    fields = (
        *("what", "buttons", "request", "session", "status", "response", "asked_by"),
        *("decided_by", "decided_at", "age", "request_id"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ControlRequest]:
        return super().get_queryset(request).filter(asker=ControlRequest.Asker.WORKER)

    # --- what is shown ---

    @admin.display(description="question")
    def what(self, row: ControlRequest) -> str:
        return str(row.request.get("tool_name") or row.subtype)

    @admin.display(description="input")
    def shown_input(self, row: ControlRequest) -> str:
        given = row.request.get("input")
        return truncatechars(wire.encode(given), LONGEST_INPUT) if given else "-"

    @admin.display(description="asked", ordering="created_at")
    def age(self, row: ControlRequest) -> SafeString:
        return ago(row.created_at)

    @admin.display(description="decision")
    def buttons(self, row: ControlRequest) -> SafeString | str:
        """Other questions than for leave take an answer that no button could give."""
        if row.status != ControlRequest.Status.PENDING or row.subtype != PERMISSION:
            return "-"
        about = f"{self.what(row)} in {row.session}"
        return format_html(
            "{} {}",
            self.button("Allow", name="question_allow", about=about, key=row.pk),
            self.button("Deny", name="question_deny", about=about, key=row.pk),
        )

    # --- what is done ---

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/allow/", view(self.allow_view), name="question_allow"),
            path("<int:pk>/deny/", view(self.deny_view), name="question_deny"),
            *super().get_urls(),
        ]

    @method_decorator(require_POST)
    def allow_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._decide(request, pk, "allow")

    @method_decorator(require_POST)
    def deny_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._decide(request, pk, "deny")

    def _decide(self, request: HttpRequest, pk: int, behavior: str) -> HttpResponse:
        if not self.has_decide_permission(request):
            raise PermissionDenied
        rows = self.get_queryset(request).select_related("session__account")
        row = rows.filter(pk=pk, request__subtype=PERMISSION).first()
        if row is None:
            self.tell(request, "This question is no longer there.", good=False)
            return self.back(request)
        try:
            self._answer(request, row, behavior)
        except GatewayError as error:
            self.tell(request, str(error), good=False)
        return self.back(request)

    def _answer(self, request: HttpRequest, row: ControlRequest, behavior: str) -> None:
        who = acting(request, row.session.account)
        if behavior == "allow":
            inner: dict[str, Any] = {
                "behavior": "allow",
                "updatedInput": row.request.get("input") or {},
            }
        else:
            inner = {"behavior": "deny", "message": f"Denied by {who.id}."}
        taken = questions.answer(
            principal=who,
            session_id=row.session.public_id,
            request_id=row.request_id,
            response={"subtype": "success", "response": inner},
        )["taken"]
        if taken:
            self.tell(request, f"{DONE[behavior]} {self.what(row)}.")
            return
        row.refresh_from_db()
        settled_by = row.decided_by or "its worker"
        self.tell(request, f"Nothing done: {settled_by} has settled it already.", good=False)
