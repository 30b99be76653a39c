"""The admin's own log-in as a credential: `/admin/ws`. Source: PROTOCOLS.md 0.1."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any

from django.contrib.auth import get_user
from django.contrib.auth.signals import user_logged_out
from django.contrib.sessions.backends.db import SessionStore
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
    session = SessionStore(credential.session_key)
    request: Any = SimpleNamespace(session=session)
    user = get_user(request)
    if not isinstance(user, User) or not user.is_active or not user.is_staff:
        raise BadCredentials("log in to the admin first")
    principal = identity.principal_of(
        user,
        user.home(),
        via="session",
        handles=(_handle(credential.session_key),),
        expires_at=session.get_expiry_date().timestamp(),
    )
    if principal is None or not principal.is_admin:
        raise RoleTooLow("permission denied: the live pages require admin role")
    return principal


@receiver(user_logged_out)
def _logged_out(sender: Any, request: Any, **kwargs: Any) -> None:
    """Django's only word of a log-out: the pages that the session holds open end with it."""
    session_key = getattr(request.session, "session_key", None)
    if session_key:
        announce(addresses.handle(_handle(session_key)), Event(DISCONNECT))


def _handle(session_key: str) -> str:
    return "session:" + hashlib.sha256(session_key.encode()).hexdigest()[:32]
