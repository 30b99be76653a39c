"""One-row rules of accounts' models."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import IntegrityError

from accounts.models import Account, Membership, User
from accounts.services import tokens
from realtime.core.errors import BadCredentials
from tests.accounts.conftest import PASSWORD


def test_migrate_makes_the_default_account(db: None) -> None:
    account = Account.objects.get(slug="default")
    assert str(account.uuid) == "0193a5b0-7000-7000-8000-000000000001"
    assert Account.default() == account


@pytest.mark.parametrize("slug", ["*", "", "A", "a b", "ü", "a\n", "-a"])
def test_a_slug_is_plain(db: None, slug: str) -> None:
    with pytest.raises(ValidationError):
        Account(slug=slug, name="x").full_clean()


def test_a_new_password_ends_tokens_and_sockets(alice: User, shut: Any) -> None:
    pair = tokens.issue(user=alice)
    before = alice.get_session_auth_hash()
    alice.set_password("another one 43")
    alice.save()
    assert shut() == {"user:default:alice"}
    assert alice.get_session_auth_hash() != before
    with pytest.raises(BadCredentials):
        tokens.recognise(pair["access"])


def test_no_password_any_more_ends_tokens_and_sockets(alice: User, shut: Any) -> None:
    alice.set_unusable_password()
    alice.save(update_fields=["password"])
    assert shut() == {"user:default:alice"}
    alice.refresh_from_db()
    assert alice.session_epoch == 1


def test_the_same_password_hashed_anew_ends_nothing(alice: User, shut: Any, settings: Any) -> None:
    before = alice.password
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.PBKDF2PasswordHasher",
        *settings.PASSWORD_HASHERS,
    ]
    assert alice.check_password(PASSWORD)
    assert alice.password != before
    alice.refresh_from_db()
    assert (alice.session_epoch, shut()) == (0, set())


def test_a_new_user_disconnects_nobody(alice: User, shut: Any) -> None:
    assert shut() == set()


def test_an_old_copy_does_not_undo_a_log_out_everywhere(alice: User) -> None:
    old = User.objects.get(pk=alice.pk)
    alice.end_sessions()
    old.first_name = "Alice"
    old.save()
    alice.refresh_from_db()
    assert (alice.session_epoch, alice.first_name) == (1, "Alice")


def test_the_stock_command_ends_sessions_too(
    alice: User, shut: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getpass", lambda *args, **kwargs: "another one 43")
    call_command("changepassword", "alice", verbosity=0)
    assert shut() == {"user:default:alice"}


def test_a_user_is_a_member_of_an_account_once(alice: User, default: Account) -> None:
    with pytest.raises(IntegrityError):
        Membership.objects.create(user=alice, account=default, role="viewer")


def test_people_are_where_they_are_members_and_superusers_in_the_default_account_too(
    alice: User, other_boss: User, other: Account
) -> None:
    User.objects.create_user("loose", is_staff=True)
    User.objects.create_user("root", is_superuser=True)
    names = User.objects.in_account("default").values_list("username", flat=True)
    assert set(names) == {"alice", "root"}
    assert [user.username for user in User.objects.in_account("other")] == ["otherboss"]
    assert [user.username for user in User.objects.nowhere()] == ["loose"]


def test_a_superuser_is_made_an_owner_of_the_default_account(root: User) -> None:
    assert [(m.account.slug, m.role) for m in root.memberships.all()] == [("default", "owner")]
