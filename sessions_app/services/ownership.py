"""Who may touch a session: the one gate that every session service goes through."""

from __future__ import annotations

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from accounts.models import Account
from realtime.core.errors import NotFound, NotOwner
from realtime.core.principal import Principal
from sessions_app.models import Session

logger = structlog.get_logger("gateway")


def owned_session(principal: Principal, key: str, *, lock: bool = False) -> Session:
    """The session `key` of the principal's own account, if it is theirs or they are an admin.

    `lock` holds the row until the transaction ends. Raises NotFound, NotOwner.
    Source: PROTOCOLS.md 2.7 and 6: what another account has does not exist.
    """
    session = find_owned(principal, key, lock=lock)
    if session is None:
        raise NotFound(f"session not found: {key}")
    return session


def named_session(principal: Principal, name: str, *, lock: bool = False) -> Session:
    """As `owned_session`, by the session's public id or else its key, as 002 names it."""
    rows = _rows(principal, lock=lock).filter(Q(public_id=name) | Q(key=name))
    found = sorted(rows, key=lambda row: row.public_id != name)
    if not found:
        raise NotFound(f"session not found: {name}")
    return _checked(principal, found[0])


def shown_session(principal: Principal, name: str, *, lock: bool = False) -> Session:
    """As `named_session`; what is not theirs does not exist for them. Raises NotFound alone."""
    try:
        return named_session(principal, name, lock=lock)
    except NotOwner:
        raise NotFound(f"session not found: {name}") from None


def find_owned(principal: Principal, key: str, *, lock: bool = False) -> Session | None:
    """Like `owned_session`, but None for a key that nobody in the account has."""
    session = _rows(principal, lock=lock).filter(key=key).first()
    return None if session is None else _checked(principal, session)


def _rows(principal: Principal, *, lock: bool) -> QuerySet[Session]:
    """The sessions of the principal's own account."""
    rows = Session.objects.select_related("account").filter(account__slug=principal.account)
    return rows.select_for_update(of=("self",)) if lock else rows


def _checked(principal: Principal, session: Session) -> Session:
    """Raises NotOwner."""
    if session.owner != principal.id:
        if not principal.is_admin:
            raise NotOwner
        logger.info(
            "session.admin_access",
            user=principal.id,
            account=principal.account,
            session=session.key,
        )
    return session


def open_session(*, principal: Principal, key: str, agent: str) -> Session:
    """Create the caller's session, or take it if a parallel request just has.

    Call it in a transaction: the row is locked either way. Raises NotFound, NotOwner.
    """
    account = Account.objects.filter(slug=principal.account).first()
    if account is None:
        raise NotFound(f"account not found: {principal.account}")
    try:
        with transaction.atomic():
            return Session.objects.create(account=account, key=key, owner=principal.id, agent=agent)
    except IntegrityError:
        return owned_session(principal, key, lock=True)


def owns_any(account: str, user_id: str) -> bool:
    """Whether sessions of the account (its slug) belong to this user id."""
    return Session.objects.filter(account__slug=account, owner=user_id).exists()
