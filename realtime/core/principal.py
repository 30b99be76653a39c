"""Who someone proved to be."""

from __future__ import annotations

from dataclasses import dataclass

ROLES = ("viewer", "operator", "admin", "owner")


_WRITING = frozenset({"operator.write", "operator.admin"})


def rank(role: str) -> int:
    """Place of a role in viewer < operator < admin < owner; -1 for anything else."""
    return ROLES.index(role) if role in ROLES else -1


@dataclass(frozen=True, slots=True)
class Principal:
    """A proved identity. Source: PROTOCOLS.md 6 (identity: within an account a person is one
    string).

    `account` is the tenant's slug. `handles` name what can be revoked under this connection
    ("user:…", "key:…", "device:…"): each is an address on which a revocation arrives.
    `expires_at`: seconds since the epoch, None for never.
    """

    id: str
    account: str = "default"
    role: str = ""
    account_id: str = ""
    account_name: str = ""
    is_superuser: bool = False
    scopes: frozenset[str] = frozenset()
    handles: tuple[str, ...] = ()
    expires_at: float | None = None
    via: str = ""

    @property
    def is_admin(self) -> bool:
        return rank(self.role) >= rank("admin")

    @property
    def only_reads(self) -> bool:
        """Whether what was shown gives scopes, and none to write."""
        return bool(self.scopes) and self.scopes.isdisjoint(_WRITING)

    def at_least(self, role: str) -> bool:
        return rank(self.role) >= rank(role)


ANONYMOUS = Principal(id="")
