"""Access and refresh tokens: simplejwt behind a wrapper that closes what it leaves open.

One refresh of a token wins and the use of an old one ends its family; a claim of the wrong shape is
a bad credential, not our fault; log-out reaches access tokens and sockets too.
Source: PROTOCOLS.md 6.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import Any

from django.db import transaction
from django.utils import timezone
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, Token

from accounts.models import Account, RefreshFamily, User
from accounts.services import identity
from realtime.core.errors import BadCredentials
from realtime.core.principal import Principal

MAX_LENGTH = 4096  # characters of a token's text
REFUSED = "token is not valid"
# What simplejwt and PyJWT let out for claims that are signed but odd.
_ODD = (TokenError, TypeError, ValueError, OverflowError, OSError, AttributeError, KeyError)


@dataclass(frozen=True, slots=True)
class _Claims:
    user_id: int
    epoch: int
    family: uuid.UUID
    jti: str
    expires_at: float  # seconds since the epoch


@transaction.atomic
def issue(*, user: User) -> dict[str, str]:
    """A new family and its first pair of tokens: {"access", "refresh"}. Raises BadCredentials."""
    if not user.is_active:
        raise BadCredentials("user is not active")
    if identity.role_in(user, user.home()) is None:
        raise BadCredentials("user is a member of no account")
    family = RefreshFamily(user=user)
    pair, jti = _pair(family)
    family.jti, family.expires_at = jti, timezone.now() + RefreshToken.lifetime
    family.save(force_insert=True)
    return pair


def refresh(*, refresh: str) -> dict[str, str]:
    """The next pair; of two refreshes of one token exactly one gets it. Raises BadCredentials.

    The loser used an old token, as a thief would: its whole family ends.
    """
    claims = _claims(refresh, RefreshToken)
    pair: dict[str, str] | None = None
    with transaction.atomic():
        # Raising inside would roll back the end of the family.
        family = _family(RefreshFamily.objects.select_for_update(of=("self",)), claims)
        if family is not None and principal_of(family) is None:
            _end(family)
        elif family is not None and family.jti == claims.jti:
            pair, jti = _pair(family)
            RefreshFamily.objects.filter(pk=family.pk).update(
                jti=jti, expires_at=timezone.now() + RefreshToken.lifetime
            )
        elif family is not None:
            _end(family)
    if pair is None:
        raise BadCredentials(REFUSED)
    return pair


@transaction.atomic
def revoke(*, refresh: str) -> None:
    """Log out: the token's family ends and the user's sockets close. Raises BadCredentials."""
    claims = _claims(refresh, RefreshToken)
    family = _family(RefreshFamily.objects.select_for_update(of=("self",)), claims)
    if family is None:
        raise BadCredentials(REFUSED)
    _end(family)


def revoke_all(*, user: User) -> None:
    """Log out everywhere."""
    user.end_sessions()


def recognise(access: str, account: Account | None = None) -> Principal:
    """The principal of an access token, in `account` (default: home). Raises BadCredentials."""
    claims = _claims(access, AccessToken)
    family = _family(RefreshFamily.objects.all(), claims)
    principal = principal_of(family, account) if family else None
    if principal is None:
        raise BadCredentials(REFUSED)
    return replace(principal, expires_at=claims.expires_at)


def principal_of(family: RefreshFamily, account: Account | None = None) -> Principal | None:
    """Whose it is, in `account` (default: home); None without a role there."""
    user, handles = family.user, (f"family:{family.pk}",)
    return identity.principal_of(user, account or user.home(), via="jwt", handles=handles)


def delete_expired() -> int:
    """Forget the families whose last refresh token has run out; how many."""
    return RefreshFamily.objects.filter(expires_at__lt=timezone.now()).delete()[0]


def _pair(family: RefreshFamily) -> tuple[dict[str, str], str]:
    refresh, access = RefreshToken(), AccessToken()
    for token in (refresh, access):
        token["user_id"] = str(family.user.pk)
        token["username"] = family.user.username
        token["session_epoch"] = family.user.session_epoch
        token["fam"] = str(family.pk)
    return {"access": str(access), "refresh": str(refresh)}, str(refresh["jti"])


def _family(families: Any, claims: _Claims) -> RefreshFamily | None:
    """The living family of these claims: not revoked, its user active and of the same epoch."""
    found: RefreshFamily | None = (
        families.select_related("user")
        .filter(
            pk=claims.family,
            revoked_at=None,
            user_id=claims.user_id,
            user__is_active=True,
            user__session_epoch=claims.epoch,
        )
        .first()
    )
    return found


def _end(family: RefreshFamily) -> None:
    RefreshFamily.objects.filter(pk=family.pk).update(revoked_at=timezone.now())
    family.user.disconnect()


def _claims(text: str, kind: type[Token]) -> _Claims:
    """The checked claims of a token's text. Raises BadCredentials, whatever is wrong with it."""
    if not isinstance(text, str) or len(text) > MAX_LENGTH or not text.isascii():
        raise BadCredentials(REFUSED)
    try:
        token = kind(text)  # type: ignore[arg-type]
        payload = token.payload
        return _Claims(
            user_id=_number(payload["user_id"]),
            epoch=_whole(payload["session_epoch"]),
            family=uuid.UUID(payload["fam"]),
            jti=_text(payload["jti"]),
            expires_at=float(payload["exp"]),
        )
    except _ODD:
        raise BadCredentials(REFUSED) from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _number(value: Any) -> int:
    """A user's number, which simplejwt writes as text; no longer than a database key."""
    text = _text(value)
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ValueError("not a number")
    return int(text)


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**31:
        raise ValueError("not an epoch")
    return value
