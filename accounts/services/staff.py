"""The admin's own log-in as a credential: `/admin/ws`. Source: PROTOCOLS.md 0.1.

Whatever deletes the session's row (log-out, log-in as somebody else, a new password) ends the
pages that it holds open.
"""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any

from django.contrib.auth import SESSION_KEY, get_user
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db.models.signals import post_delete
from django.dispatch import receiver

from accounts.models import User
from accounts.services import identity
from realtime.bus.announce import announce
from realtime.core import addresses
from realtime.core.credentials import StaffSession
from realtime.core.errors import BadCredentials, RoleTooLow
from realtime.core.events import DISCONNECT, Event
from realtime.core.principal import Principal


def recognise(*, credential: StaffSession) -> Principal:
    """The administrator whose session this is. Raises BadCredentials, RoleTooLow."""
    row = Session.objects.filter(pk=credential.session_key).first()
    request: Any = SimpleNamespace(session=SessionStore(credential.session_key))
    user = get_user(request) if row else None
    if row is None or not isinstance(user, User) or not user.is_active or not user.is_staff:
        raise BadCredentials("log in to the admin first")
    principal = identity.principal_of(
        user,
        user.home(),
        via="session",
        handles=(_handle(credential.session_key),),
        # The row's: the store tells how long a session would live if it were saved now.
        expires_at=row.expire_date.timestamp(),
    )
    if principal is None or not principal.is_admin:
        raise RoleTooLow("permission denied: the live pages require admin role")
    return principal


def again(handle: str) -> Principal | None:
    """Who the session behind this handle of a principal is of by now; None when it has ended.

    By a look at all keys: what could be looked up must not be written into a handle, and only the
    admin's own users have sessions.
    """
    keys = Session.objects.values_list("pk", flat=True)
    key = next((key for key in keys if _handle(key) == f"session:{handle}"), None)
    if key is None:
        return None
    try:
        return recognise(credential=StaffSession(session_key=key))
    except (BadCredentials, RoleTooLow):
        return None


@receiver(post_delete, sender=Session)
def _ended(sender: Any, instance: Session, **kwargs: Any) -> None:
    if SESSION_KEY in instance.get_decoded():  # else nobody was logged in
        announce(addresses.handle(_handle(instance.pk)), Event(DISCONNECT))


def _handle(session_key: str) -> str:
    return "session:" + hashlib.sha256(session_key.encode()).hexdigest()[:32]
