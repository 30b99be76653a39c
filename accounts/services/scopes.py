"""Which roles and scopes give what. Source: PROTOCOLS.md 2.4 (1b), 6 (keys)."""

from __future__ import annotations

from collections.abc import Iterable

from realtime.core.errors import InvalidParams, RoleTooLow
from realtime.core.principal import Principal, rank

# scope -> the role it gives; `sessions.work` gives none: it is for 002's workers alone.
SCOPES = {
    "operator.read": "viewer",
    "operator.write": "operator",
    "operator.approvals": "operator",
    "operator.pairing": "operator",
    "operator.admin": "admin",
    "sessions.work": "",
}
WORK = "sessions.work"
# The role that may hand a scope out, where it is not the role that the scope gives.
_GIVEN_BY = {"sessions.work": "operator"}


def role_of(scopes: Iterable[str]) -> str:
    """The highest role among `scopes`; "" when none gives one."""
    return max((SCOPES.get(scope, "") for scope in scopes), key=rank, default="")


def lesser(one: str, other: str) -> str:
    return min(one, other, key=rank)


def require(principal: Principal, role: str, what: str) -> None:
    """Raises RoleTooLow."""
    if not principal.at_least(role):
        raise RoleTooLow(f"permission denied: {what} requires {role} role")


def require_writing(principal: Principal, what: str) -> None:
    """An operator who may do more than read, approve or pair. Raises RoleTooLow."""
    require(principal, "operator", what)
    if principal.only_reads:
        raise RoleTooLow(f"permission denied: {what} requires scope operator.write")


def require_admin(principal: Principal, what: str) -> None:
    require(principal, "admin", what)


def require_to_act(principal: Principal, scope: str, what: str) -> None:
    """Role operator and, of a key with scopes, this one or `operator.admin`. Raises RoleTooLow."""
    require(principal, "operator", what)
    if principal.scopes and principal.scopes.isdisjoint({scope, "operator.admin"}):
        raise RoleTooLow(f"permission denied: {what} requires scope {scope}")


def grantable(principal: Principal, scopes: Iterable[str]) -> list[str]:
    """`scopes` in order, once each, if `principal` may hand all of them out.

    Raises InvalidParams for an unknown scope, RoleTooLow for one beyond the caller's own authority;
    no scopes at all means "whatever the user may", which a scoped caller cannot give.
    """
    wanted = list(dict.fromkeys(scopes))
    for scope in wanted:
        if scope not in SCOPES:
            raise InvalidParams(f"unknown scope: {scope}; allowed: {', '.join(SCOPES)}")
        if _beyond(principal.scopes, scope) or not principal.at_least(
            _GIVEN_BY.get(scope, SCOPES[scope])
        ):
            raise RoleTooLow(f"permission denied: scope {scope} is beyond your own authority")
    if not wanted and principal.scopes:
        raise RoleTooLow("permission denied: a key with scopes makes only keys with scopes")
    return wanted


def _beyond(own: frozenset[str], scope: str) -> bool:
    """Whether a caller with the scopes `own` lacks `scope`; `operator.admin` has its kind in it."""
    if not own or scope in own:
        return False
    return "operator.admin" not in own or not scope.startswith("operator.")
