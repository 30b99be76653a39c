"""The commands of CONTRACT: one JSON object, the same services, plain refusals."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Account, ApiKey, Pairing, User
from accounts.services import keys, tokens
from tests.accounts.conftest import Ask


def run(*arguments: str) -> dict[str, Any]:
    out = StringIO()
    call_command(*arguments, "--json", stdout=out)
    (line,) = out.getvalue().splitlines()
    answer = json.loads(line)
    assert isinstance(answer, dict)
    return answer


def said(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_create_user(db: None, other: Any) -> None:
    made = run("create_user", "carol", "--password", "pw", "--role", "admin", "--account", "other")
    user = User.objects.get(username="carol")
    assert made == {"id": user.pk, "username": "carol", "role": "admin", "account": "other"}
    assert user.check_password("pw") and user.is_staff and not user.is_superuser


def test_create_user_makes_the_account_of_a_new_slug(db: None) -> None:
    run("create_user", "carol", "--account", "acme")
    run("create_user", "dave", "--account", "acme")
    assert Account.objects.filter(slug="acme", name="acme").count() == 1


def test_create_user_by_default_makes_an_operator_without_password(db: None) -> None:
    made = run("create_user", "carol")
    assert (made["role"], made["account"]) == ("operator", "default")
    user = User.objects.get()
    assert not user.has_usable_password() and not user.is_staff


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("alice",), "user alice exists already"),
        (("carol", "--account", "no pe"), "account 'no pe': "),
        (("carol", "--account", "Acme"), "account 'Acme': "),
        (("carol", "--account", "a" * 65), "at most 64"),
        (("carol", "--password", ""), "the password is empty"),
        (("a b",), "valid username"),
        (("x" * 151,), "at most 150"),
        (("carol", "--role", "owner"), "invalid choice"),
    ],
)
def test_create_user_says_what_is_wrong(
    alice: User, arguments: tuple[str, ...], words: str
) -> None:
    with pytest.raises(CommandError, match=words):
        run("create_user", *arguments)
    assert User.objects.count() == 1


def test_create_api_key(alice: User) -> None:
    made = run(
        *("create_api_key", "laptop", "--user", "alice"),
        *("--scopes", "operator.read, operator.write", "--expires-in", "30d"),
    )
    row = ApiKey.objects.get()
    assert made == {"id": row.pk, "prefix": row.prefix, "key": made["key"]}
    assert row.scopes == ["operator.read", "operator.write"] and row.expires_at
    who = keys.recognise(made["key"])
    assert who and who.id == "alice"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--user", "nobody"), "no such user: nobody"),
        (("--user", "alice", "--scopes", "all"), "unknown scope: all"),
        (("--user", "alice", "--expires-in", "soon"), "lifetime"),
    ],
)
def test_create_api_key_says_what_is_wrong(
    alice: User, arguments: tuple[str, ...], words: str
) -> None:
    with pytest.raises(CommandError, match=words):
        run("create_api_key", "k", *arguments)
    assert not ApiKey.objects.exists()


def test_issue_token(alice: User) -> None:
    pair = run("issue_token", "alice")
    assert set(pair) == {"access", "refresh"}
    assert tokens.recognise(pair["access"]).id == "alice"
    with pytest.raises(CommandError, match="no such user: nobody"):
        run("issue_token", "nobody")
    User.objects.update(is_active=False)
    with pytest.raises(CommandError, match="not active"):
        run("issue_token", "alice")


def test_pairings_of_every_account(ask: Ask, other: Any) -> None:
    here, there = ask(), ask(tenant="other")
    listed = run("pairings", "--status", "pending")["pairings"]
    assert {row["code"] for row in listed} == {here.code, there.code}
    assert run("pairings", "--status", "denied") == {"pairings": []}
    assert here.code in said("pairings")
    assert said("pairings", "--status", "denied") == "no pairings\n"


def test_approve_and_revoke_a_pairing_of_any_account(ask: Ask, other: Any, told: Any) -> None:
    waiting = ask(tenant="other")
    done = run("approve_pairing", waiting.code.lower())
    assert done["paired"]["sender_id"] == waiting.sender_id
    assert Pairing.objects.get().decided_by == "command line"
    assert told("device.pair.resolved")
    assert run("revoke_pairing", waiting.sender_id) == {"revoked": True}
    assert told("system.disconnect")
    with pytest.raises(CommandError, match="not found"):
        run("revoke_pairing", waiting.sender_id)


def test_deny_a_pairing_once(ask: Ask) -> None:
    code = ask().code
    assert run("deny_pairing", code) == {"denied": True}
    for command in ("deny_pairing", "approve_pairing"):
        with pytest.raises(CommandError, match=f"pairing code {code} not found or expired"):
            run(command, code)


def test_without_json_people_can_read_it(alice: User) -> None:
    assert said("create_user", "carol").splitlines()[1:] == [
        "username: carol",
        "role: operator",
        "account: default",
    ]
