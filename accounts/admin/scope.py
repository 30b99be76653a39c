"""Who sees and does what in the admin: staff stay in their own account; POST buttons."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from accounts.models import Account, User
from accounts.services import credentials
from realtime.core.errors import GatewayError
from realtime.core.principal import ANONYMOUS, Principal

QUIET = "X-Quiet"


def acting(request: HttpRequest, account: Account | None = None) -> Principal:
    """The staff member as a principal, in `account` (default: their own); ANONYMOUS if none."""
    user = request.user
    if not isinstance(user, User) or not user.is_staff:
        return ANONYMOUS
    # Django asks for permissions dozens of times a page.
    known: dict[str, Principal] = request.__dict__.setdefault("_acting", {})
    slug = account.slug if account else ""
    if slug not in known:
        try:
            known[slug] = credentials.of_user(user=user, account=account)
        except GatewayError:
            known[slug] = ANONYMOUS
    return known[slug]


class AccountAdmin(ModelAdmin):
    """Rows of the staff member's own account, for administrators of it; superusers see all."""

    account_path = "account__slug"

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Titled by what it lists; `quiet` for the page's script, which must not use up the
        messages of the page that the person is about to see.
        """
        context = {
            "title": capfirst(self.opts.verbose_name_plural),
            "quiet": request.headers.get(QUIET) == "1",
        }
        return super().changelist_view(request, context | (extra_context or {}))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        principal = acting(request)
        if principal.is_superuser:
            return rows
        if not principal.is_admin:
            return rows.none()
        return rows.filter(**{self.account_path: principal.account})

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Without the account, whose choices are every tenant's name, for who sees only one."""
        shown = super().get_list_filter(request)
        if acting(request).is_superuser:
            return shown
        return [one for one in shown if one != "account"]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return acting(request).is_admin

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return acting(request).is_admin

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """May use the buttons and bulk actions marked `decide`."""
        return acting(request).is_admin

    def button(self, verb: str, *, name: str, about: str, key: Any) -> SafeString:
        """A button that posts the page's own form, CSRF token and all, to a view of ours."""
        return format_html(
            '<button type="submit" class="button {}" formmethod="post" formaction="{}"'
            ' aria-label="{} {}">{}</button>',
            verb.lower(),
            reverse(f"{self.admin_site.name}:{name}", args=[key]),
            verb,
            about,
            verb,
        )

    def back(self, request: HttpRequest) -> HttpResponse:
        """To the page that the button stood on."""
        came_from = request.headers.get("Referer", "")
        if not url_has_allowed_host_and_scheme(
            came_from, {request.get_host()}, require_https=request.is_secure()
        ):
            name = f"{self.opts.app_label}_{self.opts.model_name}_changelist"
            came_from = reverse(f"{self.admin_site.name}:{name}")
        return HttpResponseRedirect(came_from)

    def tell(self, request: HttpRequest, text: str, *, good: bool = True) -> None:
        self.message_user(request, text, messages.SUCCESS if good else messages.ERROR)


class SuperuserAdmin(AccountAdmin):
    """Staff see their own account's rows; only superusers change them."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return acting(request).is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return acting(request).is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return acting(request).is_superuser
