"""Pairings: what waits comes first; approve, deny and revoke by button or in bulk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Case, IntegerField, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from accounts.admin.scope import AccountAdmin, acting
from accounts.admin.times import ago, left
from accounts.models import Pairing
from accounts.services import pairing
from realtime.core.errors import GatewayError

_PENDING_FIRST = Case(
    When(status=Pairing.Status.PENDING, then=Value(0)),
    When(status=Pairing.Status.APPROVED, then=Value(1)),
    default=Value(2),
    output_field=IntegerField(),
)

# What a browser calls itself holds the names of its rivals, too: the first that is found holds.
_BROWSERS = {"Edg": "Edge", "OPR": "Opera", "Firefox": "", "Chrome": "", "Safari": ""}
_SYSTEMS = {"Android": "", "iPhone": "", "iPad": "", "Windows": "", "Mac OS": "macOS", "Linux": ""}


def browser(user_agent: str) -> str:
    """`Chrome on Linux`, or the beginning of what it calls itself."""
    name, system = (
        next((known[mark] or mark for mark in known if mark in user_agent), "")
        for known in (_BROWSERS, _SYSTEMS)
    )
    return f"{name} on {system}" if name and system else user_agent[:40]


@admin.register(Pairing)
class PairingAdmin(AccountAdmin):
    list_display = (
        "shown_code",
        "buttons",
        "shown_status",
        "shown_user",
        "shown_agent",
        "address",
        "age",
        "expiry",
    )
    list_filter = ("status", "channel")
    search_fields = ("code", "user_id", "address")
    readonly_fields = (
        "shown_code",
        "buttons",
        "shown_status",
        "shown_user",
        "shown_sender",
        "age",
        "expiry",
    )
    fields = (
        "shown_code",
        "buttons",
        "shown_status",
        "shown_user",
        "shown_sender",
        "channel",
        "chat_id",
        "account",
        "address",
        "user_agent",
        "age",
        "expiry",
        "created_at",
        "expires_at",
        "decided_by",
        "decided_at",
        "approved_until",
        "metadata",
    )
    actions = ("approve_selected", "deny_selected", "revoke_selected")

    def get_ordering(self, request: HttpRequest) -> Any:
        return (_PENDING_FIRST, "-created_at")

    # --- what is shown ---

    @admin.display(description="code", ordering="code")
    def shown_code(self, row: Pairing) -> SafeString:
        return format_html("<code>{}</code>", row.code)

    @admin.display(description="status", ordering="status")
    def shown_status(self, row: Pairing) -> str:
        over = row.approved_until if row.status == Pairing.Status.APPROVED else row.expires_at
        open_ = row.status in (Pairing.Status.PENDING, Pairing.Status.APPROVED)
        return "expired" if open_ and over and over <= timezone.now() else row.status

    @admin.display(description="user id", ordering="user_id")
    def shown_user(self, row: Pairing) -> str:
        open_ = self.shown_status(row) in ("pending", "approved")
        takes = "(takes the first name it claims)" if open_ and row.proof else "-"
        return row.user_id or takes

    @admin.display(description="sender id")
    def shown_sender(self, row: Pairing) -> str:
        """The device's only proof: enough to tell two apart, nothing to come in with."""
        return f"{row.sender_id[:4]}…"

    @admin.display(description="browser")
    def shown_agent(self, row: Pairing) -> SafeString:
        return format_html('<span title="{}">{}</span>', row.user_agent, browser(row.user_agent))

    @admin.display(description="age", ordering="created_at")
    def age(self, row: Pairing) -> SafeString:
        return ago(row.created_at)

    @admin.display(description="expires in")
    def expiry(self, row: Pairing) -> SafeString | str:
        ends = row.approved_until or row.expires_at
        return left(ends) if self.shown_status(row) in ("pending", "approved") else "-"

    @admin.display(description="decision")
    def buttons(self, row: Pairing) -> SafeString | str:
        shown = self.shown_status(row)
        about = f"pairing {row.code}"
        if shown == "pending":
            # By code, not by row: a code never comes to mean another request.
            return format_html(
                "{} {}",
                self.button("Approve", name="pairing_approve", about=about, key=row.code),
                self.button("Deny", name="pairing_deny", about=about, key=row.code),
            )
        if shown == "approved":
            return self.button("Revoke", name="pairing_revoke", about=about, key=row.pk)
        return "-"

    # --- what is done ---

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("code/<str:code>/approve/", view(self.approve_view), name="pairing_approve"),
            path("code/<str:code>/deny/", view(self.deny_view), name="pairing_deny"),
            path("<int:pk>/revoke/", view(self.revoke_view), name="pairing_revoke"),
            *super().get_urls(),
        ]

    @method_decorator(require_POST)
    def approve_view(self, request: HttpRequest, code: str) -> HttpResponse:
        return self._one(request, self._approve, code=code)

    @method_decorator(require_POST)
    def deny_view(self, request: HttpRequest, code: str) -> HttpResponse:
        return self._one(request, self._deny, code=code)

    @method_decorator(require_POST)
    def revoke_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._one(request, self._revoke, pk=pk)

    @admin.action(description="Approve selected pairings", permissions=["decide"])
    def approve_selected(self, request: HttpRequest, queryset: QuerySet[Pairing]) -> None:
        self._many(request, queryset, self._approve)

    @admin.action(description="Deny selected pairings", permissions=["decide"])
    def deny_selected(self, request: HttpRequest, queryset: QuerySet[Pairing]) -> None:
        self._many(request, queryset, self._deny)

    @admin.action(description="Revoke selected devices", permissions=["decide"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[Pairing]) -> None:
        self._many(request, queryset, self._revoke)

    def _one(self, request: HttpRequest, do: _Do, **which: Any) -> HttpResponse:
        if not self.has_decide_permission(request):
            raise PermissionDenied
        rows = self.get_queryset(request).filter(**which).order_by("-pk")[:1]
        if not rows:
            self.tell(request, "This pairing is no longer there.", good=False)
        self._many(request, rows, do)
        return self.back(request)

    def _many(self, request: HttpRequest, rows: QuerySet[Pairing], do: _Do) -> None:
        for row in rows.select_related("account"):
            try:
                self.tell(request, do(request, row))
            except GatewayError as error:
                row.refresh_from_db()
                self.tell(request, self._too_late(row) or str(error), good=False)

    def _too_late(self, row: Pairing) -> str:
        """What became of a request that somebody decided, or time did; "" if it is neither."""
        shown = self.shown_status(row)
        if shown == Pairing.Status.EXPIRED:
            return f"Too late: the request of the {row} has expired. The browser can ask again."
        if shown == Pairing.Status.PENDING:
            return ""
        return f"Nothing done: {row.decided_by} has decided already, the {row} is {shown}."

    def _approve(self, request: HttpRequest, row: Pairing) -> str:
        who = acting(request, row.account)
        pairing.approve(principal=who, code=row.code, approved_by=who.id)
        return f"Approved {row}."

    def _deny(self, request: HttpRequest, row: Pairing) -> str:
        pairing.deny(principal=acting(request, row.account), code=row.code)
        return f"Denied {row}."

    def _revoke(self, request: HttpRequest, row: Pairing) -> str:
        pairing.revoke(
            principal=acting(request, row.account), sender_id=row.sender_id, channel=row.channel
        )
        return f"Revoked {row}; its sockets are closed."


_Do = Callable[[HttpRequest, Pairing], str]
