from __future__ import annotations

import pytest

from realtime.core.credentials import ConnectToken, PendingPairing
from realtime.core.principal import ANONYMOUS, ROLES, Principal, rank


def test_roles_are_ordered():
    assert [rank(role) for role in ("", "nonsense", *ROLES)] == [-1, -1, 0, 1, 2, 3]


@pytest.mark.parametrize("role", ROLES)
def test_at_least_means_this_role_or_a_higher_one(role):
    who = Principal(id="x", role=role)
    assert [who.at_least(other) for other in ROLES] == [
        rank(other) <= rank(role) for other in ROLES
    ]
    assert who.is_admin is (role in {"admin", "owner"})


def test_nobody_may_do_nothing():
    assert not any(ANONYMOUS.at_least(role) for role in ROLES)


def test_secrets_are_not_shown_in_a_repr():
    shown = repr(ConnectToken(token="t0ken", sender_id="s3nder")) + repr(
        PendingPairing(code="C0DE", sender_id="s3nder", expires_at=0)
    )
    assert not any(secret in shown for secret in ("t0ken", "s3nder", "C0DE"))
