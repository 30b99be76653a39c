"""Who decided what: a log line always, and the admin's own history where the actor is a user."""

from __future__ import annotations

import structlog
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import models

from accounts.models import User
from realtime.core.principal import Principal

# Principals of the machine's own command line act in every account; no slug can contain "*".
EVERY_ACCOUNT = "*"


def command_line() -> Principal:
    """Whoever can run `manage.py` on this machine."""
    return Principal(
        id="command line", account=EVERY_ACCOUNT, role="owner", is_superuser=True, via="command"
    )


def decided(event: str, *, principal: Principal, row: models.Model, action: str) -> None:
    """Record that `principal` did `action` to `row`, inside the caller's transaction."""
    structlog.get_logger("gateway").info(
        event,
        action=action,
        kind=row._meta.model_name,
        id=row.pk,
        actor=actor(principal),
        via=principal.via,
        account=principal.account,
    )
    user = _user_of(principal)
    if user is not None:
        LogEntry.objects.create(
            user=user,
            content_type=ContentType.objects.get_for_model(row),
            object_id=str(row.pk),
            object_repr=str(row)[:200],
            action_flag=CHANGE,
            change_message=f"{action} by {actor(principal)} ({principal.via})",
        )


def actor(principal: Principal) -> str:
    return principal.id or principal.via or "unknown"


def _user_of(principal: Principal) -> User | None:
    """The user that this principal is, proved; an id that was claimed or lent is nobody's."""
    named = User.objects.filter(username=principal.id)
    if not principal.is_superuser:  # they act in accounts that are not theirs
        named = named.in_account(principal.account)
    if principal.via == "api_key":
        keys = [handle[4:] for handle in principal.handles if handle.startswith("key:")]
        named = named.filter(api_keys__pk__in=keys)
    elif principal.via not in {"session", "jwt"}:
        return None
    return named.first()
