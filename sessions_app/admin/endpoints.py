"""Endpoints of models as agents: for superusers, since every account's messages may go there."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from accounts.admin.scope import SuperuserAdmin, acting
from realtime.core.errors import GatewayError
from sessions_app.admin.asked import AskedAdmin
from sessions_app.models import AgentEndpoint
from sessions_app.services import endpoints


class EndpointForm(forms.ModelForm):
    """Asks the service in `clean`, so that a refusal stands beside the field that it names."""

    acting: Any  # set by the admin for each request
    key = forms.CharField(
        required=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "class": "vTextField"}),
        help_text="Kept encrypted and never shown again. Empty: the one that is there stays.",
    )
    forget_key = forms.BooleanField(required=False, help_text="Send no key from now on.")

    class Meta:
        model = AgentEndpoint
        fields = ("name", "base_url", "model")
        help_texts = {
            "name": "What clients give as agentId. 'openai' takes the place of the settings'.",
            "base_url": "Such as https://api.openai.com/v1; it ends before /chat/completions.",
        }

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if self.errors:
            return given
        new = self.instance.pk is None
        given.setdefault("name", self.instance.name)  # of one that is there it cannot be changed
        try:
            endpoints.keep(principal=self.acting, new=new, **given)
        except GatewayError as error:
            name = str((error.details or {}).get("field", ""))
            field = name if name in self.fields else None
            self.add_error(field, str(error).removeprefix(f"{name}: "))
        return given

    def _post_clean(self) -> None:
        """The instance is the row that the service made."""
        if not self.errors:
            self.instance = AgentEndpoint.objects.get(name=self.cleaned_data["name"])


@admin.register(AgentEndpoint)
class AgentEndpointAdmin(AskedAdmin, SuperuserAdmin):
    form = EndpointForm
    list_display = ("name", "base_url", "model", "has_key", "updated_at")
    ordering = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return AgentEndpoint.objects.all()  # who may see one may see all: they have no account

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("name",) if obj else ()  # sessions know their agent by it

    def has_module_permission(self, request: HttpRequest) -> bool:
        return acting(request).is_superuser

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return acting(request).is_superuser

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.acting = acting(request)
        return form

    @admin.display(description="key", boolean=True)
    def has_key(self, row: AgentEndpoint) -> bool:
        return bool(row.sealed_key)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        endpoints.remove(principal=acting(request), name=obj.name)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for row in queryset:
            self.delete_model(request, row)
