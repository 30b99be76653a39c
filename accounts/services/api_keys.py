"""001's `api_keys.*`: an administrator's view of the account's keys. Source: PROTOCOLS.md 2.8."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import Account, ApiKey
from accounts.services import keys, lifetimes, scopes
from realtime.core.errors import NotFound
from realtime.core.principal import Principal

MOST = 1000  # newest that one answer holds


def list_(*, principal: Principal) -> dict[str, Any]:
    """The account's keys that are not revoked, newest first, without what they are recognised by.

    Raises RoleTooLow.
    """
    scopes.require_admin(principal, "api_keys.list")
    rows = ApiKey.objects.filter(account__slug=principal.account, revoked_at=None)
    return {"api_keys": [_row(row) for row in rows.select_related("user").order_by("-pk")[:MOST]]}


@transaction.atomic
def create(
    *,
    principal: Principal,
    name: str,
    key_scopes: Sequence[str] = (),
    expires_in: int | None = None,
    owner_id: str = "",
    tenant_id: str = "",
) -> dict[str, Any]:
    """A new key in the caller's account, `expires_in` seconds; its text is in this answer only.

    Raises InvalidParams, NotFound (another tenant), RoleTooLow.
    """
    scopes.require_admin(principal, "api_keys.create")
    _check_tenant(principal, tenant_id)
    ends = None
    if expires_in is not None:
        ends = timezone.now() + lifetimes.parse(str(expires_in))
    made = keys.create(
        principal=principal, name=name, scopes_=key_scopes, owner_id=owner_id, expires_at=ends
    )
    row = made.row
    shown: dict[str, Any] = {
        "id": str(row.pk),
        "name": row.name,
        "prefix": row.prefix,
        "key": made.text,
        "scopes": row.scopes,
    }
    return shown | _given(expires_at=_moment(row.expires_at))


def revoke(*, principal: Principal, key_id: str) -> dict[str, Any]:
    """End a key of the account; its sockets close. Raises NotFound, RoleTooLow."""
    scopes.require_admin(principal, "api_keys.revoke")
    if not (key_id.isascii() and key_id.isdigit() and len(key_id) <= 18):
        raise NotFound(f"API key not found: {key_id[:18]}")
    keys.revoke(principal=principal, key_id=int(key_id))
    return {"status": "revoked"}


def _check_tenant(principal: Principal, tenant_id: str) -> None:
    """Another account does not exist for the caller."""
    if not tenant_id:
        return
    mine = Account.objects.filter(slug=principal.account).first()
    if mine is None or tenant_id not in (str(mine.uuid), mine.slug):
        raise NotFound(f"tenant not found: {tenant_id[:64]}")


def _row(row: ApiKey) -> dict[str, Any]:
    """One row of the list; keys without a value are absent."""
    shown: dict[str, Any] = {
        "id": str(row.pk),
        "name": row.name,
        "prefix": row.prefix,
        "scopes": row.scopes,
        "created_at": _moment(row.created_at),
    }
    return shown | _given(
        expires_at=_moment(row.expires_at),
        last_used_at=_moment(row.last_used_at),
        owner_id=row.owner_id,
        user=row.user.username if row.user else "",
    )


def _given(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _moment(moment: dt.datetime | None) -> str:
    """RFC 3339 in UTC; "" for none."""
    if moment is None:
        return ""
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
