"""Roles as permissions of REST views."""

from __future__ import annotations

import functools
from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.authentication import principal_of
from accounts.services import scopes


@functools.cache
def role(least: str) -> type[BasePermission]:
    """The permission class of a role and all above it."""

    class AtLeast(BasePermission):
        def has_permission(self, request: Request, view: Any) -> bool:
            """Raises MissingCredentials, RoleTooLow."""
            scopes.require(principal_of(request), least, "this")
            return True

    AtLeast.__name__ = AtLeast.__qualname__ = f"AtLeast{least.title()}"
    return AtLeast


Viewer = role("viewer")
Operator = role("operator")
Admin = role("admin")
