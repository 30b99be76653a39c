"""Who stands in the admin's history: users who proved it, in their own account."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry

from accounts.models import User
from accounts.services import credentials, journal, keys, tokens
from realtime.core.principal import Principal
from tests.accounts.conftest import GATEWAY_TOKEN


def written(principal: Principal, row: User) -> list[str]:
    journal.decided("access.changed", principal=principal, row=row, action="looked at")
    return [entry.user.username for entry in LogEntry.objects.all()]


def key_of(user: User, **fields: Any) -> Principal:
    made = keys.create(principal=journal.command_line(), name="k", user=user, **fields)
    return credentials.bearer(token=made.text)


@pytest.mark.parametrize("way", ["session", "jwt", "api key"])
def test_who_proved_to_be_a_user_of_the_account_is_named(way: str, boss: User) -> None:
    principal = {
        "session": lambda: credentials.of_user(user=boss),
        "jwt": lambda: credentials.bearer(token=tokens.issue(user=boss)["access"]),
        "api key": lambda: key_of(boss),
    }[way]()
    LogEntry.objects.all().delete()
    assert written(principal, boss) == ["boss"]


def test_a_superuser_is_named_in_every_account(root: User, other: Any) -> None:
    assert written(credentials.of_user(user=root, account=other), root) == ["root"]


def test_a_name_that_was_claimed_or_lent_is_nobodys(
    boss: User, alice: User, other_boss: User
) -> None:
    claimed = credentials.bearer(token=GATEWAY_TOKEN, user_id="boss")
    foreign = credentials.bearer(token=GATEWAY_TOKEN, user_id="otherboss")
    lent = key_of(alice, owner_id="boss")
    elsewhere = key_of(boss, owner_id="otherboss")
    device = Principal(id="boss", role="operator", via="device", handles=("user:default:boss",))
    namesake = replace(credentials.of_user(user=boss), account="other")
    LogEntry.objects.all().delete()
    for principal in (claimed, foreign, lent, elsewhere, device, namesake):
        assert written(principal, alice) == []
