"""Taking access away: in the database and on every open socket."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import Account, ApiKey, Membership, Pairing, User
from accounts.services import credentials, journal, keys, pairing, revocation, tokens
from realtime.core.errors import BadCredentials, NotFound, RoleTooLow
from realtime.core.principal import Principal
from tests.accounts.conftest import person


def test_a_deactivated_user_is_out_everywhere(
    alice: User, other: Account, admin: Principal, shut: Any
) -> None:
    keys.create(principal=credentials.of_user(user=alice), name="k")
    revocation.user(principal=admin, user=alice)
    alice.refresh_from_db()
    assert (alice.is_active, alice.session_epoch) == (False, 1)
    assert shut() == {"user:default:alice"}


def test_a_user_of_two_accounts_is_disconnected_in_both(
    alice: User, other: Account, shut: Any
) -> None:
    Membership.objects.create(user=alice, account=other, role="viewer")
    revocation.user(principal=journal.command_line(), user=alice)
    assert shut() == {"user:default:alice", "user:other:alice"}


def test_a_deleted_user_leaves_no_device_behind(
    alice: User, paired: Any, admin: Principal, shut: Any
) -> None:
    device = Pairing.objects.get()
    revocation.delete_user(principal=admin, user=alice)
    assert not User.objects.filter(username="alice").exists()
    assert shut() == {"user:default:alice", device.handle}
    device.refresh_from_db()
    assert device.status == "revoked"


@pytest.mark.parametrize(
    ("who", "refusal"),
    [("stranger", RoleTooLow), ("other_admin", NotFound), ("owner", RoleTooLow)],
)
@pytest.mark.parametrize("verb", ["user", "delete_user", "set_role", "remove_member"])
def test_only_an_admin_of_the_persons_account_takes_access_away(
    verb: str,
    who: str,
    refusal: type[Exception],
    alice: User,
    shut: Any,
    request: pytest.FixtureRequest,
) -> None:
    own = credentials.of_user(user=alice)
    principal = own if who == "owner" else request.getfixturevalue(who)
    membership = alice.memberships.get()
    extra = {
        "user": {"user": alice},
        "delete_user": {"user": alice},
        "set_role": {"user": alice, "account": membership.account, "role": "admin"},
        "remove_member": {"membership": membership},
    }
    with pytest.raises(refusal):
        getattr(revocation, verb)(principal=principal, **extra[verb])
    alice.refresh_from_db()
    assert alice.is_active and alice.memberships.get().role == "operator"
    assert not shut()


def test_an_admin_has_no_power_over_an_owner(admin: Principal, default: Account) -> None:
    owner = person("chief", default, "owner")
    with pytest.raises(RoleTooLow):
        revocation.user(principal=admin, user=owner)
    with pytest.raises(RoleTooLow):
        revocation.set_role(principal=admin, user=owner, account=default, role="viewer")


def test_an_admin_gives_no_role_above_their_own(
    admin: Principal, alice: User, default: Account
) -> None:
    with pytest.raises(RoleTooLow):
        revocation.set_role(principal=admin, user=alice, account=default, role="owner")


def test_an_admin_does_not_reach_someone_who_is_elsewhere_too(
    admin: Principal, alice: User, other: Account
) -> None:
    Membership.objects.create(user=alice, account=other, role="viewer")
    with pytest.raises(NotFound):
        revocation.user(principal=admin, user=alice)


def test_a_new_role_closes_the_sockets_of_the_old_one(
    admin: Principal, alice: User, default: Account, shut: Any
) -> None:
    revocation.set_role(principal=admin, user=alice, account=default, role="viewer")
    assert credentials.of_user(user=alice).role == "viewer"
    assert shut() == {"user:default:alice"}


def test_a_first_membership_closes_the_sockets_where_they_were(other: Account, shut: Any) -> None:
    loose = User.objects.create_user("loose")
    revocation.set_role(
        principal=journal.command_line(), user=loose, account=other, role="operator"
    )
    assert shut() == {"user:default:loose", "user:other:loose"}


def test_a_new_role_ends_the_tokens_of_the_old_one(
    admin: Principal, alice: User, default: Account
) -> None:
    pair = tokens.issue(user=alice)
    revocation.set_role(principal=admin, user=alice, account=default, role="viewer")
    with pytest.raises(BadCredentials):
        tokens.recognise(pair["access"])
    with pytest.raises(BadCredentials):
        tokens.refresh(refresh=pair["refresh"])


def test_a_removed_member_is_disconnected(admin: Principal, alice: User, shut: Any) -> None:
    pair = tokens.issue(user=alice)
    revocation.remove_member(principal=admin, membership=alice.memberships.get())
    assert not alice.memberships.exists()
    assert shut() == {"user:default:alice"}
    alice.refresh_from_db()
    assert alice.session_epoch == 1
    with pytest.raises(BadCredentials):
        tokens.refresh(refresh=pair["refresh"])


def test_who_loses_the_last_membership_is_no_staff(
    boss: User, other: Account, default: Account, root: User
) -> None:
    Membership.objects.create(user=boss, account=other, role="admin")
    for account, staff in ((other, True), (default, False)):
        membership = boss.memberships.get(account=account)
        revocation.remove_member(principal=journal.command_line(), membership=membership)
        boss.refresh_from_db()
        assert boss.is_staff is staff
    membership = root.memberships.get()
    revocation.remove_member(principal=journal.command_line(), membership=membership)
    root.refresh_from_db()
    assert root.is_staff and credentials.of_user(user=root).role == "owner"


@pytest.mark.parametrize("verb", ["remove_member", "delete_user"])
def test_what_acts_under_the_name_in_the_account_ends_with_the_person(
    verb: str, alice: User, bob: User, other_boss: User, ask: Any, admin: Principal, shut: Any
) -> None:
    paired, waiting = ask(), ask()
    pairing.approve(principal=admin, code=paired.code)
    bobs, there = ask(user_id="bob"), ask(tenant="other", address="10.0.0.2")
    by = journal.command_line()
    pairing.approve(principal=by, code=bobs.code)
    pairing.approve(principal=by, code=there.code)
    lent = keys.create(principal=by, name="lent", user=bob, owner_id="alice").row
    kept = keys.create(principal=by, name="kept", user=bob).row
    away = keys.create(principal=by, name="away", user=other_boss, owner_id="alice").row
    if verb == "remove_member":
        revocation.remove_member(principal=admin, membership=alice.memberships.get())
    else:
        revocation.delete_user(principal=admin, user=alice)
    states = dict(Pairing.objects.values_list("sender_id", "status"))
    assert states[paired.sender_id] == "revoked"
    assert states[waiting.sender_id] == "denied"
    assert states[bobs.sender_id] == states[there.sender_id] == "approved"
    living = ApiKey.objects.filter(revoked_at=None).values_list("pk", flat=True)
    assert set(living) == {kept.pk, away.pk}
    device = Pairing.objects.get(sender_id=paired.sender_id)
    assert shut() == {"user:default:alice", device.handle, lent.handle}


def test_a_key_does_not_come_back_with_the_membership(
    admin: Principal, alice: User, default: Account
) -> None:
    made = keys.create(principal=credentials.of_user(user=alice), name="k")
    revocation.remove_member(principal=admin, membership=alice.memberships.get())
    Membership.objects.create(user=alice, account=default, role="operator")
    assert keys.recognise(made.text) is None


def test_a_key_is_ended_once(alice: User, admin: Principal, told: Any) -> None:
    keys.create(principal=credentials.of_user(user=alice), name="k")
    row = ApiKey.objects.get()
    revocation.key(principal=admin, key=row)
    revocation.key(principal=admin, key=row)
    assert len(told("system.disconnect")) == 1


def test_a_device_that_is_not_paired_is_not_found(ask: Any, admin: Principal) -> None:
    ask()
    with pytest.raises(NotFound):
        revocation.device(principal=admin, pairing=Pairing.objects.get())
