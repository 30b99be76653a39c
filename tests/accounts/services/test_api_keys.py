"""001's `api_keys.*`: an administrator's, of the own account; the key itself is shown once."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Account, ApiKey, User
from accounts.services import api_keys, journal, keys
from realtime.core.errors import InvalidParams, NotFound, RoleTooLow
from realtime.core.principal import Principal
from tests.accounts.conftest import GATEWAY_TOKEN, Connect


@pytest.fixture
def robot(connect: Connect) -> Principal:
    who = connect(token=GATEWAY_TOKEN, user_id="robot")
    assert isinstance(who, Principal)
    return who


def listed(principal: Principal) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = api_keys.list_(principal=principal)["api_keys"]
    return rows


def test_a_key_is_shown_at_its_making_and_never_again(admin: Principal, alice: User) -> None:
    made = api_keys.create(
        principal=admin, name="ci", key_scopes=("operator.read",), expires_in=3600
    )
    assert set(made) == {"id", "name", "prefix", "key", "scopes", "expires_at"}
    assert (made["name"], made["scopes"]) == ("ci", ["operator.read"])
    assert keys.recognise(made["key"])
    row = ApiKey.objects.get()
    assert row.expires_at
    assert abs(row.expires_at - timezone.now() - dt.timedelta(hours=1)) < dt.timedelta(seconds=60)
    shown = json.dumps(api_keys.list_(principal=admin))
    assert made["key"][13:] not in shown and row.digest not in shown


def test_the_list_has_the_fields_of_the_specification(admin: Principal, robot: Principal) -> None:
    api_keys.create(principal=admin, name="mine")
    lent = api_keys.create(principal=robot, name="lent", key_scopes=("operator.read",))
    keys.recognise(lent["key"])
    second, first = listed(admin)
    assert {row.pop("created_at")[-1] for row in (first, second)} == {"Z"}
    assert second.pop("last_used_at").endswith("Z")
    assert second.pop("id") == lent["id"] and first.pop("id")
    assert second.pop("prefix") == lent["key"][4:12] and first.pop("prefix")
    assert first == {"name": "mine", "scopes": [], "user": "boss"}
    assert second == {"name": "lent", "scopes": ["operator.read"], "owner_id": "robot"}


def test_an_account_sees_and_ends_only_its_own_keys(
    admin: Principal, other_admin: Principal, alice: User
) -> None:
    made = keys.create(principal=journal.command_line(), name="k", user=alice)
    assert [row["name"] for row in listed(admin)] == ["k"]
    assert listed(other_admin) == []
    with pytest.raises(NotFound):
        api_keys.revoke(principal=other_admin, key_id=str(made.row.pk))
    assert api_keys.revoke(principal=admin, key_id=str(made.row.pk)) == {"status": "revoked"}
    assert keys.recognise(made.text) is None
    assert listed(admin) == []
    with pytest.raises(NotFound, match="^API key not found: "):
        api_keys.revoke(principal=admin, key_id=str(made.row.pk))


@pytest.mark.parametrize("key_id", ["x", "-1", "1.5", "9" * 19, "²", "0"])
def test_what_is_no_key_is_not_found(admin: Principal, key_id: str) -> None:
    with pytest.raises(NotFound, match="^API key not found: "):
        api_keys.revoke(principal=admin, key_id=key_id)


def test_a_tenant_is_the_own_one_or_there_is_none(admin: Principal, other: Account) -> None:
    assert api_keys.create(principal=admin, name="k", tenant_id=admin.account_id)
    for foreign in (str(other.uuid), "other", "nowhere"):
        with pytest.raises(NotFound, match="^tenant not found: "):
            api_keys.create(principal=admin, name="k", tenant_id=foreign)
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize("expires_in", [0, -1, 10**9])
def test_a_lifetime_is_positive_and_at_most_ten_years(admin: Principal, expires_in: int) -> None:
    with pytest.raises(InvalidParams):
        api_keys.create(principal=admin, name="k", expires_in=expires_in)


def test_nobody_but_administrators(stranger: Principal) -> None:
    with pytest.raises(RoleTooLow):
        api_keys.list_(principal=stranger)
    with pytest.raises(RoleTooLow):
        api_keys.create(principal=stranger, name="k")
    with pytest.raises(RoleTooLow):
        api_keys.revoke(principal=stranger, key_id="1")
