"""Making, listing and ending API keys: never more than the caller may itself."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Account, ApiKey, User
from accounts.services import credentials, journal, keys, pairing, revocation
from accounts.services.scopes import SCOPES
from realtime.core.errors import InvalidParams, NotFound, Revoked, RoleTooLow
from realtime.core.principal import Principal
from tests.accounts.conftest import GATEWAY_TOKEN, Connect, person


@pytest.fixture
def owner(alice: User) -> Principal:
    return credentials.of_user(user=alice)


def test_a_key_has_its_mark_its_prefix_and_256_bits(owner: Principal) -> None:
    made = keys.create(principal=owner, name=" laptop ")
    assert re.fullmatch(r"gwk_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", made.text)
    assert made.text[4:12] == made.row.prefix
    assert (made.row.name, made.row.user.username) == ("laptop", "alice")


def test_the_key_itself_is_kept_nowhere(owner: Principal, caplog: Any) -> None:
    made = keys.create(principal=owner, name="k")
    secret = made.text[13:]
    assert not any(secret in str(value) for value in ApiKey.objects.values().get().values())
    assert secret not in repr(made) + caplog.text


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("viewer", {"operator.read"}),
        ("operator", set(SCOPES) - {"operator.admin"}),
        ("admin", set(SCOPES)),
    ],
)
def test_a_role_hands_out_what_it_has(
    owner: Principal, default: Account, role: str, allowed: set[str]
) -> None:
    User.objects.get(username="alice").memberships.update(role=role)
    caller = replace(owner, role=role)
    for scope in SCOPES:
        if scope in allowed:
            assert keys.create(principal=caller, name="k", scopes_=[scope]).row.scopes == [scope]
        else:
            with pytest.raises(RoleTooLow):
                keys.create(principal=caller, name="k", scopes_=[scope])


def test_an_unknown_scope_is_refused_by_name(owner: Principal) -> None:
    with pytest.raises(InvalidParams, match=r"operator\.everything"):
        keys.create(principal=owner, name="k", scopes_=["operator.everything"])


def test_a_scoped_key_makes_only_keys_within_its_scopes(owner: Principal) -> None:
    scopes = frozenset({"operator.read", "operator.write"})
    caller = replace(owner, scopes=scopes)
    assert keys.create(principal=caller, name="k", scopes_=["operator.read"])
    for wanted in ([], ["operator.pairing"]):
        with pytest.raises(RoleTooLow):
            keys.create(principal=caller, name="k", scopes_=wanted)


def test_the_scope_of_administrators_has_the_other_operators_scopes_in_it(
    admin: Principal,
) -> None:
    caller = replace(admin, scopes=frozenset({"operator.admin"}))
    for scope in SCOPES:
        if scope.startswith("operator."):
            assert keys.create(principal=caller, name="k", scopes_=[scope])
        else:
            with pytest.raises(RoleTooLow):
                keys.create(principal=caller, name="k", scopes_=[scope])


def test_a_key_makes_no_key_that_outlives_it(owner: Principal) -> None:
    ends = timezone.now() + dt.timedelta(hours=1)
    caller = replace(owner, via="api_key", expires_at=ends.timestamp())
    assert keys.create(principal=caller, name="k", expires_at=ends)
    for wanted in (None, ends + dt.timedelta(seconds=1)):
        with pytest.raises(RoleTooLow):
            keys.create(principal=caller, name="k", expires_at=wanted)


def test_only_an_admin_makes_keys_for_others(owner: Principal, admin: Principal, bob: User) -> None:
    assert keys.create(principal=admin, name="k", user=bob).row.user == bob
    for fields in ({"user": bob}, {"owner_id": "bob"}):
        with pytest.raises(RoleTooLow):
            keys.create(principal=owner, name="k", **fields)


def test_an_admin_makes_no_key_of_a_higher_role(
    admin: Principal, root: User, default: Account
) -> None:
    chief = person("chief", default, "owner")
    with pytest.raises(RoleTooLow):
        keys.create(principal=admin, name="k", user=chief)
    with pytest.raises(RoleTooLow):
        keys.create(principal=admin, name="k", user=root)
    scoped = keys.create(principal=admin, name="k", user=root, scopes_=["operator.admin"])
    who = keys.recognise(scoped.text)
    assert who and (who.role, who.is_superuser) == ("admin", False)


def test_an_admin_makes_no_key_in_another_account(
    admin: Principal, other: Account, other_boss: User
) -> None:
    with pytest.raises((NotFound, InvalidParams)):
        keys.create(principal=admin, name="k", user=other_boss, account=other)
    with pytest.raises(InvalidParams):
        keys.create(principal=admin, name="k", user=other_boss)


def test_the_command_line_makes_keys_in_the_users_own_account(other_boss: User) -> None:
    made = keys.create(principal=journal.command_line(), name="k", user=other_boss)
    assert made.row.account.slug == "other"


@pytest.fixture
def robot(connect: Connect) -> Principal:
    """Who holds the gateway token, under an id that is no user's."""
    who = connect(token=GATEWAY_TOKEN, user_id="robot")
    assert isinstance(who, Principal)
    return who


def test_a_caller_without_a_user_makes_a_key_that_acts_as_them(robot: Principal) -> None:
    made = keys.create(principal=robot, name="k", scopes_=["operator.write"])
    assert (made.row.user, made.row.owner_id) == (None, "robot")
    who = keys.recognise(made.text)
    assert who == Principal(
        id="robot",
        account="default",
        role="operator",
        account_id=robot.account_id,
        account_name=robot.account_name,
        scopes=frozenset({"operator.write"}),
        handles=("user:default:robot", f"key:{made.row.pk}"),
        via="api_key",
    )
    credentials.check(principal=who)
    assert [row.pk for row in keys.list_(principal=who)] == [made.row.pk]
    assert [row.pk for row in keys.list_(principal=robot)] == [made.row.pk]


def test_a_key_without_a_user_needs_an_id_and_scopes(
    robot: Principal, connect: Connect, default: Account
) -> None:
    nobody = connect(token=GATEWAY_TOKEN)
    assert isinstance(nobody, Principal)
    with pytest.raises(InvalidParams, match="^owner_id is required$"):
        keys.create(principal=nobody, name="k", scopes_=["operator.read"])
    with pytest.raises(InvalidParams, match="^scopes are required"):
        keys.create(principal=robot, name="k")
    made = keys.create(principal=nobody, name="k", scopes_=["operator.read"], owner_id="probe")
    who = keys.recognise(made.text)
    assert who and (who.id, who.role, who.is_superuser) == ("probe", "viewer", False)


def test_only_an_administrator_makes_keys_without_a_user(
    connect: Connect, ask: Any, admin: Principal
) -> None:
    waiting = ask(user_id="kiosk")
    pairing.approve(principal=admin, code=waiting.code)
    kiosk = connect(sender_id=waiting.sender_id)
    assert isinstance(kiosk, Principal) and kiosk.role == "operator"
    with pytest.raises(RoleTooLow):
        keys.create(principal=kiosk, name="k", scopes_=["operator.write"])


def test_a_key_made_with_a_key_ends_with_the_same_user(admin: Principal, boss: User) -> None:
    """Lent to another id it must not outlive the person whose key it was made with."""
    lent = keys.create(principal=admin, name="a", owner_id="robot", scopes_=["operator.admin"])
    robot = keys.recognise(lent.text)
    assert robot and robot.id == "robot"
    made = keys.create(principal=robot, name="b", scopes_=["operator.read"])
    assert (made.row.user, made.row.acts_as) == (boss, "robot")


def test_a_key_without_a_user_makes_only_keys_within_its_own(robot: Principal) -> None:
    first = keys.create(principal=robot, name="a", scopes_=["operator.admin"])
    caller = keys.recognise(first.text)
    assert caller
    second = keys.create(principal=caller, name="b", scopes_=["operator.read"])
    assert (second.row.user, second.row.owner_id) == (None, "robot")
    with pytest.raises(RoleTooLow):
        keys.create(principal=caller, name="c", scopes_=["sessions.work"])


def test_who_is_shut_out_stays_out_with_a_key_without_a_user(
    robot: Principal, alice: User, admin: Principal
) -> None:
    made = keys.create(principal=robot, name="k", owner_id="alice", scopes_=["operator.read"])
    who = keys.recognise(made.text)
    assert who
    revocation.user(principal=admin, user=alice)
    assert keys.recognise(made.text) is None
    with pytest.raises(Revoked):
        credentials.check(principal=who)


@pytest.mark.parametrize(
    ("who", "ended"), [("admin", True), ("stranger", False), ("other_admin", False)]
)
def test_a_key_without_a_user_is_ended_by_an_admin_of_its_account(
    who: str, ended: bool, robot: Principal, shut: Any, request: pytest.FixtureRequest
) -> None:
    made = keys.create(principal=robot, name="k", scopes_=["operator.read"])
    caller = request.getfixturevalue(who)
    if ended:
        keys.revoke(principal=caller, key_id=made.row.pk)
        assert shut() == {f"key:{made.row.pk}"}
    else:
        with pytest.raises(NotFound):
            keys.revoke(principal=caller, key_id=made.row.pk)
    assert bool(keys.recognise(made.text)) != ended


@pytest.mark.parametrize(
    "fields",
    [
        {"name": " "},
        {"name": "x" * 101},
        {"name": "a\x00"},
        {"owner_id": "x" * 256},
        {"expires_at": timezone.now() - dt.timedelta(seconds=1)},
    ],
    ids=",".join,
)
def test_words_that_no_row_could_hold_are_refused(owner: Principal, fields: Any) -> None:
    with pytest.raises(InvalidParams):
        keys.create(**({"principal": owner, "name": "k"} | fields))


def test_the_last_use_is_written_at_most_once_a_minute(owner: Principal) -> None:
    made = keys.create(principal=owner, name="k")
    keys.recognise(made.text)
    first = ApiKey.objects.get().last_used_at
    assert first
    keys.recognise(made.text)
    assert ApiKey.objects.get().last_used_at == first
    ApiKey.objects.update(last_used_at=first - dt.timedelta(minutes=1))
    keys.recognise(made.text)
    assert ApiKey.objects.get().last_used_at >= first


def test_a_scoped_key_of_a_superuser_is_no_superuser(root: User) -> None:
    by = journal.command_line()
    plain = keys.create(principal=by, name="k", user=root)
    scoped = keys.create(principal=by, name="k", user=root, scopes_=["operator.admin"])
    renamed = keys.create(principal=by, name="k", user=root, owner_id="alice")
    known = [keys.recognise(made.text) for made in (plain, scoped, renamed)]
    assert [who and who.is_superuser for who in known] == [True, False, False]


@pytest.mark.parametrize(
    ("who", "ended"),
    [("owner", True), ("admin", True), ("stranger", False), ("other_admin", False)],
)
def test_a_key_is_ended_by_its_owner_or_an_admin_of_its_account(
    who: str, ended: bool, owner: Principal, shut: Any, request: pytest.FixtureRequest
) -> None:
    made = keys.create(principal=owner, name="k")
    principal = request.getfixturevalue(who)
    if ended:
        keys.revoke(principal=principal, key_id=made.row.pk)
        assert shut() == {f"key:{made.row.pk}"}
        assert keys.recognise(made.text) is None
    with pytest.raises(NotFound):
        keys.revoke(principal=principal, key_id=made.row.pk)
    assert bool(keys.recognise(made.text)) != ended


def test_the_list_is_the_callers_own(
    owner: Principal, stranger: Principal, admin: Principal
) -> None:
    made = keys.create(principal=owner, name="k")
    assert [row.pk for row in keys.list_(principal=owner)] == [made.row.pk]
    assert not keys.list_(principal=stranger)
    assert not keys.list_(principal=admin)
    keys.revoke(principal=owner, key_id=made.row.pk)
    assert not keys.list_(principal=owner)
