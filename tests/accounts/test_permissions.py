"""Roles as permissions: least role x caller's role."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory

from accounts.permissions import role
from realtime.core.errors import MissingCredentials, RoleTooLow
from realtime.core.principal import ROLES, Principal


@pytest.mark.parametrize("least", ROLES)
@pytest.mark.parametrize("has", ["", *ROLES])
def test_a_role_passes_where_it_is_high_enough(least: str, has: str) -> None:
    request: Any = RequestFactory().get("/")
    request.auth = Principal(id="x", role=has)
    if has in ROLES and ROLES.index(has) >= ROLES.index(least):
        assert role(least)().has_permission(request, None)
    else:
        with pytest.raises(RoleTooLow):
            role(least)().has_permission(request, None)


def test_nobody_is_asked_for_credentials() -> None:
    request: Any = RequestFactory().get("/")
    with pytest.raises(MissingCredentials):
        role("viewer")().has_permission(request, None)


def test_a_role_is_one_class() -> None:
    assert role("admin") is role("admin")
