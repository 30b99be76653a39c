"""A word of the server on a topic, as a form: for staff who are operators, in their own account."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods

from accounts.admin.scope import acting
from accounts.models import Account
from realtime.core.errors import GatewayError
from realtime.core.topics import MAX_CHANNEL, TELEMETRY
from sessions_app.services import topics


class BroadcastForm(forms.Form):
    """`tenant` is for those who act in all accounts; the service checks the rest."""

    tenant = forms.ModelChoiceField(Account.objects.all(), empty_label=None, label="Account")
    channel = forms.CharField(
        label="Topic",
        max_length=MAX_CHANNEL,
        initial=TELEMETRY,
        strip=False,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
    )
    payload = forms.CharField(
        label="Data",
        initial="{}",
        widget=forms.Textarea(attrs={"class": "vLargeTextField code", "rows": 8}),
        help_text='Any JSON, such as {"agent_id": "a1", "cpu": 7}.',
    )

    def clean_payload(self) -> Any:
        try:
            return json.loads(self.cleaned_data["payload"])
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(f"This is not JSON: {error}") from None


@require_http_methods(["GET", "HEAD", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    """The form; what was published is told on the same page, ready for the next word."""
    who = acting(request)
    if not who.at_least("operator"):
        raise PermissionDenied
    channel = request.GET.get("channel", TELEMETRY)
    form = BroadcastForm(request.POST or None, initial={"channel": channel})
    if not who.is_superuser:
        del form.fields["tenant"]
    if form.is_valid() and _published(request, form):
        messages.success(request, f"Published on {form.cleaned_data['channel']}.")
        query = urlencode({"channel": form.cleaned_data["channel"]})
        return HttpResponseRedirect(f"{request.path}?{query}")
    context = {**admin.site.each_context(request), "title": "Publish on a topic", "form": form}
    return render(request, "admin/publish.html", context)


def _published(request: HttpRequest, form: BroadcastForm) -> bool:
    """A refusal stands in the form."""
    given = form.cleaned_data
    try:
        topics.proclaim(
            principal=acting(request, given.get("tenant")),
            channel=given["channel"],
            data=given["payload"],
        )
    except GatewayError as error:
        form.add_error(None, str(error))
        return False
    return True
