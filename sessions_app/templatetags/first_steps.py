"""To what the admin's front page should show the way."""

from __future__ import annotations

from django import template

from accounts.admin.scope import acting
from accounts.models import ApiKey, Pairing
from sessions_app.services import presence

register = template.Library()


@register.simple_tag(takes_context=True)
def newcomer(context: template.Context) -> bool:
    """An administrator whose account has no device, no key and nobody connected."""
    principal = acting(context["request"])
    if not principal.is_admin:
        return False
    mine = {"account__slug": principal.account}
    return not (
        Pairing.objects.filter(**mine, status=Pairing.Status.APPROVED).exists()
        or ApiKey.objects.filter(**mine).exists()
        or presence.live(principal=principal).exclude(protocol="admin").exists()
    )


@register.simple_tag(takes_context=True)
def speaker(context: template.Context) -> bool:
    """Who may publish on topics."""
    return acting(context["request"]).at_least("operator")
