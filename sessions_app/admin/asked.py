"""Rows that a service makes or changes while its form is checked."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from accounts.admin.scope import AccountAdmin


class AskedAdmin(AccountAdmin):
    """The row is there already, made by the service that the form has asked."""

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        return form.instance

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        pass

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        pass
