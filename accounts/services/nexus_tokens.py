"""The JWTs that 004 takes: somebody's own, made with NEXUS_JWT_SECRET, or our access tokens.

Source: PROTOCOLS.md 5.1, 6 (identity): who shows one of the former is `nexus:<userId>` in the
account `default`.
"""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import replace
from typing import Any

import jwt
from django.conf import settings

from accounts.models import MAX_ID, Account, user_handle
from accounts.services import tokens
from accounts.services.pairing_words import printable
from realtime.core.credentials import Jwt
from realtime.core.errors import BadCredentials, InvalidParams
from realtime.core.principal import Principal, rank
from realtime.core.topics import FOREIGN

VIA = "nexus"
ALGORITHM = "HS256"
SKEW_S = 5  # that whoever made a token may be ahead; an expired one is expired
LONGEST_ID = MAX_ID - len(FOREIGN)
MAX_ROLE = 64
# Who may not publish where NEXUS_OBSERVERS_PUBLISH is off.
OBSERVERS = frozenset({"observer", "viewer"})
READS = frozenset({"operator.read"})

# Neither an audience nor an issuer is agreed on; a `sub` or `jti` is the maker's own affair.
_OPTIONS: Any = {"verify_aud": False, "verify_iss": False, "verify_sub": False, "verify_jti": False}
# What PyJWT lets out for claims that are signed but odd.
_ODD = (jwt.PyJWTError, TypeError, ValueError, OverflowError, KeyError)


def recognise(*, credential: Jwt) -> Principal:
    """Who shows this token. Raises BadCredentials."""
    principal = _foreign(credential.token) or _ours(credential.token)
    if principal.expires_at is not None and principal.expires_at <= time.time():
        raise BadCredentials(tokens.REFUSED)
    return principal


def issue(*, user_id: str, role: str, lifetime: dt.timedelta) -> str:
    """A token for somebody who is no user here. Raises InvalidParams."""
    if not _is_id(user_id):
        raise InvalidParams(f"user id takes 1 to {LONGEST_ID} printable characters")
    if len(role) > MAX_ROLE:
        raise InvalidParams(f"role takes up to {MAX_ROLE} characters")
    now_s = int(time.time())
    claims = {
        "userId": user_id,
        "role": role,
        "iat": now_s,
        "exp": now_s + int(lifetime.total_seconds()),
    }
    return jwt.encode(claims, settings.NEXUS_JWT_SECRET, algorithm=ALGORITHM)


def _foreign(text: str) -> Principal | None:
    """Whom NEXUS_JWT_SECRET vouches for; None: nobody."""
    if len(text) > tokens.MAX_LENGTH:
        return None
    try:
        claims = jwt.decode(
            text,
            settings.NEXUS_JWT_SECRET,
            algorithms=[ALGORITHM],
            options=_OPTIONS,
            leeway=SKEW_S,
        )
        user_id, role = claims["userId"], claims.get("role", "")
        ends = float(claims["exp"]) if "exp" in claims else None
    except _ODD:
        return None
    if not isinstance(user_id, str) or not isinstance(role, str) or not _is_id(user_id):
        return None
    return _principal(user_id, role, ends)


def _principal(user_id: str, role: str, ends: float | None) -> Principal:
    """Ours is the role, and no more than an operator's: the secret is other programs', too."""
    account = Account.default()
    name = FOREIGN + user_id
    return Principal(
        id=name,
        account=account.slug,
        role="operator" if rank(role) >= rank("operator") else "viewer",
        account_id=str(account.uuid),
        account_name=account.name,
        scopes=_scopes(role),
        handles=(user_handle(account.slug, name),),
        expires_at=ends,
        via=VIA,
    )


def _ours(text: str) -> Principal:
    """Raises BadCredentials."""
    principal = tokens.recognise(text)
    return replace(principal, scopes=_scopes(principal.role))


def _scopes(role: str) -> frozenset[str]:
    reads = role in OBSERVERS and not settings.NEXUS_OBSERVERS_PUBLISH
    return READS if reads else frozenset()


def _is_id(text: str) -> bool:
    return 0 < len(text) <= LONGEST_ID and printable(text) == text
