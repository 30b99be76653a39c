"""The table of scopes."""

from __future__ import annotations

import pytest

from accounts.services import scopes


@pytest.mark.parametrize(
    ("given", "role"),
    [
        ([], ""),
        (["operator.read"], "viewer"),
        (["operator.approvals"], "operator"),
        (["operator.read", "operator.admin"], "admin"),
        (["sessions.work"], ""),
        (["no.such.scope"], ""),
    ],
)
def test_the_highest_role_among_scopes_counts(given: list[str], role: str) -> None:
    assert scopes.role_of(given) == role


def test_the_lesser_role_is_the_one_that_may_do_less() -> None:
    assert scopes.lesser("owner", "viewer") == "viewer"
    assert scopes.lesser("", "viewer") == ""
