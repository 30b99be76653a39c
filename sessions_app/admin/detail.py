"""Rows whose own page is written by a template and changes by itself, and what is done to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib.admin.utils import quote
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.admin.scope import QUIET, acting
from realtime.core.errors import GatewayError
from sessions_app.admin.asked import AskedAdmin

What = Callable[[HttpRequest, Any], str]


class DetailAdmin(AskedAdmin):
    """Its row's page extends `admin/live_change_form.html` and gets `about(request, row)`."""

    add_form_template = "admin/sessions_app/asking.html"
    asked: tuple[str, ...] = ()  # the fields of `form`, which adds

    def about(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        return {}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return acting(request).is_admin

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """The account is chosen by those who act in all of them."""
        if obj is not None:
            return ()
        return ("tenant", *self.asked) if acting(request).is_superuser else self.asked

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is not None:
            return super().get_form(request, obj, change=change, form=forms.ModelForm, **kwargs)
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.acting = staticmethod(lambda account: acting(request, account))
        if not acting(request).is_superuser:
            del form.base_fields["tenant"]
        return form

    def render_change_form(
        self,
        request: HttpRequest,
        context: Any,
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> Any:
        context["quiet"] = request.headers.get(QUIET) == "1"
        if obj is not None:
            context |= {"title": str(obj), "subtitle": None, **self.about(request, obj)}
        return super().render_change_form(request, context, add, change, form_url, obj)

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """To the row's own page, where it can be watched."""
        return HttpResponseRedirect(self.page_of(obj))

    def page_of(self, row: Any) -> str:
        name = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_change"
        return reverse(name, args=[quote(row.pk)])

    def do(self, request: HttpRequest, rows: QuerySet[Any], what: What) -> HttpResponse:
        """Do `what` to each row and say what came of it."""
        if not self.has_decide_permission(request):
            raise PermissionDenied
        found = list(rows.select_related("account"))
        for row in found:
            try:
                self.tell(request, what(request, row))
            except GatewayError as error:
                self.tell(request, f"{row}: {error}", good=False)
        if not found:
            self.tell(request, "This is no longer there.", good=False)
        return self.back(request)


class AskingForm(forms.ModelForm):
    """Asks a service in `clean`, so that a refusal stands beside the field that it names."""

    acting: Any  # set by the admin for each request: an account's principal
    made: Any = None

    def ask(self, given: dict[str, Any]) -> Any:
        """The row that the service makes. Raises GatewayError."""
        raise NotImplementedError

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if self.errors:
            return given
        try:
            self.made = self.ask(given)
        except GatewayError as error:
            self.refuse(error)
        return given

    def refuse(self, error: GatewayError) -> None:
        name = str((error.details or {}).get("field", ""))
        words = str(error).removeprefix(f"{name}: ") if name in self.fields else str(error)
        self.add_error(name if name in self.fields else None, words)

    def _post_clean(self) -> None:
        """The instance is the row that the service made."""
        if self.made is not None:
            self.instance = self.made


def mark(word: str, kind: str = "") -> SafeString:
    """A word in a frame; `kind` (default: the word) gives the colour."""
    return format_html('<span class="state is-{}">{}</span>', kind or word, word)
