"""API keys: made, shown once, recognised. Source: PROTOCOLS.md 2.4 (1b), 6; CONTRACT."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.models import MAX_ID, Account, ApiKey, User, user_handle
from accounts.services import identity, journal, revocation, scopes
from realtime.core.errors import InvalidParams, NotFound, RoleTooLow
from realtime.core.principal import Principal, rank

MARK = "gwk_"
PREFIX_BYTES = 4  # 8 hexadecimal digits
SECRET_BYTES = 32  # 43 characters
LENGTH = len(MARK) + 2 * PREFIX_BYTES + 1 + 43
LAST_USED_EVERY = dt.timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class NewKey:
    """`text` is the key itself: it exists only here and with whoever is shown it."""

    row: ApiKey
    text: str = field(repr=False)


@transaction.atomic
def create(
    *,
    principal: Principal,
    name: str,
    user: User | None = None,
    account: Account | None = None,
    scopes_: Iterable[str] = (),
    owner_id: str = "",
    expires_at: dt.datetime | None = None,
) -> NewKey:
    """A new key of `user` (default: the caller) in `account` (default: the caller's).

    An administrator without a User row makes one that acts as `owner_id` (default: the caller).
    Never more than the caller may itself. Raises InvalidParams, RoleTooLow.
    """
    name, owner_id, scopes_ = name.strip(), owner_id.strip(), list(scopes_)
    _check_words(name, owner_id, expires_at)
    if user is None:
        user = _caller(principal)
        if user is None or user.username != principal.id:
            owner_id = owner_id or principal.id
    if user is None:
        _check_userless(principal, owner_id, scopes_)
    account = account or _account_of(principal, user)
    row = ApiKey(
        account=account,
        user=user,
        name=name,
        owner_id=owner_id,
        scopes=scopes.grantable(principal, scopes_),
        expires_at=expires_at,
    )
    _check_authority(principal, row)
    prefix = secrets.token_hex(PREFIX_BYTES)
    text = f"{MARK}{prefix}_{secrets.token_urlsafe(SECRET_BYTES)}"
    row.prefix, row.digest = prefix, _digest(text)
    row.save(force_insert=True)
    journal.decided("key.created", principal=principal, row=row, action="created")
    return NewKey(row=row, text=text)


def list_(*, principal: Principal) -> QuerySet[ApiKey]:
    """The caller's own keys that are not revoked, newest first."""
    mine = ApiKey.objects.filter(_of(principal), account__slug=principal.account)
    return mine.filter(revoked_at=None).select_related("user").order_by("-pk")


@transaction.atomic
def revoke(*, principal: Principal, key_id: int) -> None:
    """End a key of the caller, or of the caller's account if an admin. Raises NotFound."""
    there = ApiKey.objects.filter(pk=key_id, revoked_at=None)
    if principal.account != journal.EVERY_ACCOUNT:
        there = there.filter(account__slug=principal.account)
    if not principal.is_admin:
        there = there.filter(_of(principal))
    row = there.first()
    if row is None:
        raise NotFound(f"API key not found: {key_id}")
    revocation.key(principal=principal, key=row)


def recognise(text: str) -> Principal | None:
    """The principal of a usable key; None for anything else.

    Found by its digest: one query whether the prefix, the secret or the state is wrong, so the time
    tells nothing.
    """
    if not text.startswith(MARK) or len(text) != LENGTH or not text.isascii():
        return None
    now = timezone.now()
    row = (
        ApiKey.objects.usable(now)
        .filter(digest=_digest(text))
        .select_related("user", "account")
        .first()
    )
    principal = principal_of(row) if row else None
    if row and principal and (not row.last_used_at or now - row.last_used_at >= LAST_USED_EVERY):
        ApiKey.objects.filter(pk=row.pk).update(last_used_at=now)
    return principal


def principal_of(row: ApiKey) -> Principal | None:
    """Who shows this key; None when its user may not act in its account any more."""
    base = _base(row)
    if base is None or identity.is_shut_out(row.account.slug, row.owner_id):
        return None
    role = scopes.lesser(scopes.role_of(row.scopes), base.role) if row.scopes else base.role
    handles = base.handles
    if row.acts_as != base.id:
        handles = (user_handle(row.account.slug, row.acts_as), *handles)
    return replace(
        base,
        id=row.acts_as,
        role=role,
        is_superuser=base.is_superuser and not row.scopes and row.acts_as == base.id,
        scopes=frozenset(row.scopes),
        handles=handles,
        expires_at=row.expires_at.timestamp() if row.expires_at else None,
    )


def _base(row: ApiKey) -> Principal | None:
    """The key's user; without one, whoever it acts as, with the role of its scopes alone."""
    account = row.account
    if row.user is not None:
        return identity.principal_of(row.user, account, via="api_key", handles=(row.handle,))
    return Principal(
        id=row.owner_id,
        account=account.slug,
        role=scopes.role_of(row.scopes),
        account_id=str(account.uuid),
        account_name=account.name,
        handles=(user_handle(account.slug, row.owner_id), row.handle),
        via="api_key",
    )


def _of(principal: Principal) -> Q:
    return Q(user__username=principal.id) | Q(user=None, owner_id=principal.id)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _check_words(name: str, owner_id: str, expires_at: dt.datetime | None) -> None:
    if not name:
        raise InvalidParams("name is required")
    if len(name) > 100 or len(owner_id) > MAX_ID or "\x00" in name + owner_id:
        raise InvalidParams(f"name takes 100 characters, owner_id {MAX_ID}")
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidParams("expires_at must lie in the future")


def _caller(principal: Principal) -> User | None:
    """The user that the caller's new key hangs on; a key made with a key ends with its user."""
    if principal.via == "api_key":
        shown = [name[4:] for name in principal.handles if name.startswith("key:")]
        row = ApiKey.objects.filter(pk__in=shown).select_related("user").first()
        if row is not None:
            return row.user
    return User.objects.in_account(principal.account).filter(username=principal.id).first()


def _check_userless(principal: Principal, owner_id: str, scopes_: list[str]) -> None:
    scopes.require_admin(principal, "a key without a user")
    if not owner_id:
        raise InvalidParams("owner_id is required")
    if not scopes_:
        raise InvalidParams("scopes are required: the key has no user whose role it could take")


def _account_of(principal: Principal, user: User | None) -> Account:
    if principal.account == journal.EVERY_ACCOUNT and user is not None:
        return user.home()
    return Account.objects.get(slug=principal.account)


def _check_authority(principal: Principal, row: ApiKey) -> None:
    """The new key must not reach further, or live longer, than the caller."""
    made = principal_of(row)
    if made is None:
        whose = row.user.username if row.user else row.acts_as
        raise InvalidParams(f"user {whose} cannot act in account {row.account.slug}")
    everywhere = principal.is_superuser and not principal.scopes
    if row.account.slug != principal.account and not everywhere:
        raise NotFound("account not found")
    if row.acts_as != principal.id or (row.user and row.user.username != principal.id):
        scopes.require_admin(principal, "a key for another user")
    if rank(made.role) > rank(principal.role) or (made.is_superuser and not everywhere):
        raise RoleTooLow(f"permission denied: role {made.role} is beyond your own authority")
    if principal.expires_at and principal.via == "api_key":
        ends = row.expires_at.timestamp() if row.expires_at else float("inf")
        if ends > principal.expires_at:
            raise RoleTooLow("permission denied: the key would outlive the one that makes it")
