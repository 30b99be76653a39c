"""Who comes in to the groups of 003. Source: PROTOCOLS.md 4.1, 4.2, 6."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Account, ApiKey, Membership, RefreshFamily, User
from accounts.services import credentials, journal, keys, tickets, tokens
from realtime.core.credentials import GroupTicket
from realtime.core.errors import BadCredentials, MissingCredentials, Revoked
from realtime.core.principal import Principal

NOT_THEIRS = "x_account_id is not an account"


def enter(**shown: str) -> Principal:
    return tickets.recognise(credential=GroupTicket(**shown))


def key_of(user: User, *scopes: str, account: Account | None = None) -> str:
    who = journal.command_line()
    made = keys.create(principal=who, name="k", user=user, account=account, scopes_=scopes)
    return made.text


def token_of(user: User) -> str:
    return tokens.issue(user=user)["access"]


@pytest.fixture
def both_homes(alice: User, other: Account) -> User:
    """Alice, who is a viewer of the other account too."""
    Membership.objects.create(user=alice, account=other, role="viewer")
    return alice


def test_a_key_or_a_token_lets_in_as_whose_it_is(alice: User) -> None:
    for shown in ({"api_key": key_of(alice)}, {"jwt": token_of(alice)}):
        who = enter(**shown)
        assert (who.id, who.account, who.role) == ("alice", "default", "operator")


def test_a_key_has_the_role_of_its_scopes_and_one_without_a_role_opens_nothing(boss: User) -> None:
    assert enter(api_key=key_of(boss, "operator.read")).role == "viewer"
    with pytest.raises(BadCredentials):
        enter(api_key=key_of(boss, "sessions.work"))


def test_who_shows_nothing_is_refused_or_a_guest_of_the_default_account(
    default: Account, other: Account, settings: Any
) -> None:
    with pytest.raises(MissingCredentials):
        enter()
    with pytest.raises(MissingCredentials):
        enter(account="default")
    settings.AETHER_REQUIRE_API_KEY = False
    who = enter(account=str(default.uuid))
    assert (who.id, who.account, who.role, who.is_superuser) == (
        "aether:guest",
        "default",
        "viewer",
        False,
    )
    credentials.check(principal=who)
    with pytest.raises(BadCredentials, match=NOT_THEIRS):
        enter(account="other")
    settings.AETHER_REQUIRE_API_KEY = True
    with pytest.raises(Revoked):
        credentials.check(principal=who)


@pytest.mark.parametrize("required", [True, False])
def test_what_is_shown_must_be_valid_all_of_it(alice: User, settings: Any, required: bool) -> None:
    settings.AETHER_REQUIRE_API_KEY = required
    key, token = key_of(alice), token_of(alice)
    refresh = tokens.issue(user=alice)["refresh"]
    for shown in (
        {"api_key": "wrong"},
        {"api_key": token},
        {"jwt": key},
        {"jwt": refresh},
        {"api_key": key, "jwt": "wrong"},
        {"api_key": "wrong", "jwt": token},
    ):
        with pytest.raises(BadCredentials):
            enter(**shown)


def test_the_account_is_chosen_among_ones_own_by_slug_or_tenant_id(
    both_homes: User, default: Account, other: Account, boss: User
) -> None:
    token = token_of(both_homes)
    assert enter(jwt=token).account == "default"
    for name in ("other", str(other.uuid)):
        who = enter(jwt=token, account=name)
        assert (who.account, who.role) == ("other", "viewer")
        credentials.check(principal=who)
    third = Account.objects.create(slug="third", name="Third")
    for name in ("third", str(third.uuid), "nowhere", "\x00", "OTHER"):
        with pytest.raises(BadCredentials, match=NOT_THEIRS):
            enter(jwt=token, account=name)
    with pytest.raises(BadCredentials, match=NOT_THEIRS):
        enter(jwt=token_of(boss), account="other")


def test_a_key_stays_in_its_account_though_its_user_is_in_others(
    both_homes: User, other: Account
) -> None:
    here, there = key_of(both_homes), key_of(both_homes, account=other)
    assert enter(api_key=there, account="other").role == "viewer"
    for key, name in ((here, "other"), (there, "default")):
        with pytest.raises(BadCredentials, match=NOT_THEIRS):
            enter(api_key=key, account=name)


def test_a_superuser_enters_any_account_by_token(root: User, other: Account) -> None:
    who = enter(jwt=token_of(root), account="other")
    assert (who.account, who.is_superuser) == ("other", True)
    assert not enter(api_key=key_of(root, "operator.admin")).is_superuser


def test_with_both_it_is_the_person_of_the_token_in_the_account_of_the_key(
    both_homes: User, boss: User, other_boss: User
) -> None:
    who = enter(api_key=key_of(boss), jwt=token_of(both_homes))
    assert (who.id, who.role, who.account) == ("alice", "operator", "default")
    who = enter(api_key=key_of(other_boss), jwt=token_of(both_homes))
    assert (who.id, who.role, who.account) == ("alice", "viewer", "other")
    with pytest.raises(BadCredentials, match=NOT_THEIRS):
        enter(api_key=key_of(other_boss), jwt=token_of(boss))


def test_the_end_of_either_ends_what_both_have_opened(alice: User, boss: User) -> None:
    def both() -> Principal:
        return enter(api_key=key_of(boss), jwt=token_of(alice))

    who = both()
    key = ApiKey.objects.latest("pk")
    assert {key.handle, "user:default:alice", "user:default:boss"} < set(who.handles)
    assert who.expires_at is not None
    credentials.check(principal=who)
    ApiKey.objects.filter(pk=key.pk).update(revoked_at=timezone.now())
    with pytest.raises(Revoked):
        credentials.check(principal=who)
    who = both()
    RefreshFamily.objects.update(revoked_at=timezone.now())
    with pytest.raises(Revoked):
        credentials.check(principal=who)


def test_the_earlier_expiry_counts(alice: User, boss: User) -> None:
    key, soon = key_of(boss), timezone.now() + timezone.timedelta(seconds=30)
    ApiKey.objects.update(expires_at=soon)
    assert enter(api_key=key, jwt=token_of(alice)).expires_at == soon.timestamp()


def test_who_loses_the_membership_loses_the_socket(both_homes: User, other: Account) -> None:
    who = enter(jwt=token_of(both_homes), account="other")
    Membership.objects.filter(user=both_homes, account=other).delete()
    with pytest.raises(Revoked):
        credentials.check(principal=who)
