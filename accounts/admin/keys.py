"""API keys: made here, shown once, revoked by button or in bulk."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from accounts.admin.scope import AccountAdmin, acting
from accounts.models import Account, ApiKey, User
from accounts.services import keys
from accounts.services.scopes import SCOPES
from realtime.core.errors import GatewayError
from realtime.core.principal import Principal


class NewKeyForm(forms.ModelForm):
    """The service's rules are asked in `clean`, so a refusal stands in the form."""

    principal: Principal  # set by the admin for each request
    made: keys.NewKey | None = None
    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in SCOPES],
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text="None: whatever the user may.",
    )

    class Meta:
        model = ApiKey
        fields = ("name", "user", "account", "scopes", "owner_id", "expires_at")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "user" in self.fields:  # absent where a key is only shown
            self.fields["user"].required = True
            boxes = self.fields["expires_at"].widget.widgets  # which Django leaves without labels
            for box, name in zip(boxes, ("date", "time"), strict=True):
                box.attrs["aria-label"] = f"Expires at, {name}"

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if self.errors:
            return given
        try:
            self.made = keys.create(
                principal=self.principal,
                name=given["name"],
                user=given["user"],
                account=given["account"],
                scopes_=given["scopes"],
                owner_id=given["owner_id"],
                expires_at=given["expires_at"],
            )
        except GatewayError as error:
            raise forms.ValidationError(str(error)) from None
        return given

    def _post_clean(self) -> None:
        """The instance is the row that the service made."""
        if self.made is not None:
            self.instance = self.made.row


@admin.register(ApiKey)
class ApiKeyAdmin(AccountAdmin):
    form = NewKeyForm
    list_display = (
        "name",
        "prefix",
        "user",
        "acts_as",
        "account",
        "scopes",
        "created_at",
        "last_used_at",
        "expires_at",
        "shown_state",
        "buttons",
    )
    list_select_related = ("user", "account")
    search_fields = ("name", "prefix", "user__username", "owner_id")
    readonly_fields = ("prefix", "created_at", "last_used_at", "revoked_at", "buttons")
    actions = ("revoke_selected",)

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        chosen = ("name", "user", "account", "scopes", "owner_id", "expires_at")
        return chosen if obj is None else ("buttons", *chosen, *self.readonly_fields[:-1])

    def has_add_permission(self, request: HttpRequest) -> bool:
        return acting(request).is_admin

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return acting(request).is_superuser

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        if not obj.revoked_at:
            keys.revoke(principal=acting(request, obj.account), key_id=obj.pk)
        obj.delete()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for row in queryset.select_related("account"):
            self.delete_model(request, row)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.principal = acting(request)
        return form

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        principal = acting(request)
        if not principal.is_superuser:
            if db_field.name == "user":
                kwargs["queryset"] = User.objects.in_account(principal.account)
            if db_field.name == "account":
                kwargs["queryset"] = Account.objects.filter(slug=principal.account)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        return form.instance

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """The row is there; this is the only moment at which the key can be read."""
        self.tell(request, f"The key of {obj}, shown this once: {form.made.text}")

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """A key has no related rows, and `form` saves nothing."""

    @admin.display(description="state")
    def shown_state(self, row: ApiKey) -> str:
        if row.revoked_at:
            return "revoked"
        return "expired" if row.expires_at and row.expires_at <= timezone.now() else "active"

    @admin.display(description="decision")
    def buttons(self, row: ApiKey) -> SafeString | str:
        if row.pk is None or row.revoked_at:
            return "-"
        return self.button("Revoke", name="key_revoke", about=f"key {row}", key=row.pk)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.revoke_view)
        return [path("<int:pk>/revoke/", view, name="key_revoke"), *super().get_urls()]

    @method_decorator(require_POST)
    def revoke_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not self.has_decide_permission(request):
            raise PermissionDenied
        self._revoke(request, self.get_queryset(request).filter(pk=pk))
        return self.back(request)

    @admin.action(description="Revoke selected keys", permissions=["decide"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        self._revoke(request, queryset)

    def _revoke(self, request: HttpRequest, rows: QuerySet[ApiKey]) -> None:
        for row in rows.select_related("account"):
            try:
                keys.revoke(principal=acting(request, row.account), key_id=row.pk)
                self.tell(request, f"Revoked {row}; its sockets are closed.")
            except GatewayError as error:
                self.tell(request, str(error), good=False)
