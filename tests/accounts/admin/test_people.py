"""Users, accounts and memberships in the admin: what takes access away closes sockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from accounts.models import Account, Membership, User
from accounts.services import journal, keys, tokens
from realtime.core.errors import BadCredentials
from tests.accounts.admin.test_pairing import press
from tests.accounts.conftest import PASSWORD

USERS, ACCOUNTS, MEMBERS = (
    f"/admin/accounts/{name}/" for name in ("user", "account", "membership")
)
LogIn = Callable[[User], Client]


@pytest.fixture
def at_root(root: User, at_admin: LogIn) -> Client:
    return at_admin(root)


def people_of(handles: set[str]) -> set[str]:
    """Without the sessions, whose keys Django changes together with a password."""
    return {handle for handle in handles if not handle.startswith("session:")}


def form_of(user: User, **fields: Any) -> dict[str, Any]:
    kept = {"username": user.username, "first_name": "", "last_name": "", "email": ""}
    return kept | {"is_active": "on"} | fields


def test_deactivating_a_user_closes_the_sockets(at_root: Client, alice: User, shut: Any) -> None:
    data = form_of(alice)
    del data["is_active"]
    assert press(at_root, f"{USERS}{alice.pk}/change/", **data).status_code == 302
    alice.refresh_from_db()
    assert not alice.is_active
    assert shut() == {"user:default:alice"}


def test_an_edit_that_takes_nothing_away_closes_nothing(
    at_root: Client, alice: User, shut: Any
) -> None:
    data = form_of(alice, first_name="Alice")
    assert press(at_root, f"{USERS}{alice.pk}/change/", **data).status_code == 302
    assert User.objects.get(pk=alice.pk).first_name == "Alice"
    assert shut() == set()


def test_losing_staff_rights_closes_the_sockets(at_root: Client, boss: User, shut: Any) -> None:
    press(at_root, f"{USERS}{boss.pk}/change/", **form_of(boss))
    assert shut() == {"user:default:boss"}


def test_a_user_cannot_be_renamed(at_root: Client, alice: User) -> None:
    press(at_root, f"{USERS}{alice.pk}/change/", **form_of(alice, username="mallory"))
    assert User.objects.get(pk=alice.pk).username == "alice"


def test_deactivating_in_bulk(at_root: Client, alice: User, bob: User, shut: Any) -> None:
    chosen = [alice.pk, bob.pk]
    press(at_root, USERS, action="deactivate_selected", _selected_action=chosen)
    assert shut() == {"user:default:alice", "user:default:bob"}
    assert not User.objects.filter(pk__in=chosen, is_active=True).exists()


def test_logging_out_everywhere_ends_tokens_and_sockets_of_the_chosen_only(
    at_root: Client, alice: User, bob: User, shut: Any
) -> None:
    access = {user: tokens.issue(user=user)["access"] for user in (alice, bob)}
    press(at_root, USERS, action="log_out_selected", _selected_action=[alice.pk])
    assert shut() == {"user:default:alice"}
    with pytest.raises(BadCredentials):
        tokens.recognise(access[alice])
    assert tokens.recognise(access[bob]).id == "bob"
    assert LogEntry.objects.get().change_message == "Logged out everywhere."


def test_who_may_not_change_users_may_not_log_them_out(
    at_admin: LogIn, boss: User, alice: User, shut: Any
) -> None:
    access = tokens.issue(user=alice)["access"]
    press(at_admin(boss), USERS, action="log_out_selected", _selected_action=[alice.pk])
    assert tokens.recognise(access).id == "alice"
    assert shut() == set()


@pytest.mark.parametrize("bulk", [False, True])
def test_deleting_a_user_closes_the_sockets(
    bulk: bool, at_root: Client, alice: User, shut: Any
) -> None:
    keys.create(principal=journal.command_line(), name="k", user=alice)
    tokens.issue(user=alice)
    if bulk:
        data = {"action": "delete_selected", "_selected_action": [alice.pk], "post": "yes"}
        press(at_root, USERS, **data)
    else:
        press(at_root, f"{USERS}{alice.pk}/delete/", post="yes")
    assert not User.objects.filter(username="alice").exists()
    assert shut() == {"user:default:alice"}


def test_a_new_password_by_the_admin_closes_the_sockets(
    at_root: Client, alice: User, shut: Any
) -> None:
    new = {"password1": "another one 43", "password2": "another one 43"}
    answer = press(at_root, f"{USERS}{alice.pk}/password/", **new, usable_password="true")
    assert answer.status_code == 302
    assert User.objects.get(pk=alice.pk).check_password("another one 43")
    assert people_of(shut()) == {"user:default:alice"}


def test_ones_own_new_password_keeps_this_session_and_ends_the_others(
    root: User, at_admin: LogIn, shut: Any
) -> None:
    here, elsewhere = at_admin(root), at_admin(root)
    new = {"new_password1": "another one 43", "new_password2": "another one 43"}
    answer = press(here, "/admin/password_change/", old_password=PASSWORD, **new)
    assert answer.status_code == 302
    assert here.get(USERS).status_code == 200
    assert elsewhere.get(USERS).status_code == 302
    assert people_of(shut()) == {"user:default:root"}


def test_a_new_user_has_a_password_form(at_root: Client) -> None:
    new = {"password1": "another one 43", "password2": "another one 43"}
    press(at_root, f"{USERS}add/", username="carol", **new, usable_password="true")
    carol = User.objects.get(username="carol")
    assert carol.check_password("another one 43")
    assert [(m.account.slug, m.role) for m in carol.memberships.all()] == [("default", "viewer")]


def test_staff_who_are_members_nowhere_see_nothing(
    boss: User, alice: User, at_admin: LogIn
) -> None:
    boss.memberships.all().delete()
    client = at_admin(boss)
    for path in (USERS, ACCOUNTS, MEMBERS, f"{USERS}{alice.pk}/change/"):
        assert client.get(path).status_code == 403
    assert "alice" not in client.get("/admin/").content.decode()
    assert client.get("/api/pairings/").status_code == 401


def test_the_names_of_other_tenants_are_for_superusers(
    boss: User, alice: User, other: Account, root: User, at_admin: LogIn
) -> None:
    Membership.objects.create(user=root, account=other, role="owner")
    assert "account__id__exact" in at_admin(root).get(MEMBERS).content.decode()
    page = at_admin(boss).get(MEMBERS).content.decode()
    assert "role__exact" in page
    assert "account__id__exact" not in page and ">other<" not in page


def test_a_new_role_goes_through_the_service(
    at_root: Client, alice: User, default: Account, shut: Any
) -> None:
    row = alice.memberships.get()
    press(at_root, f"{MEMBERS}{row.pk}/change/", role="admin")
    row.refresh_from_db()
    assert row.role == "admin"
    assert shut() == {"user:default:alice"}


def test_a_new_membership_and_its_end_close_the_sockets(
    at_root: Client, alice: User, other: Account, shut: Any
) -> None:
    data = {"user": alice.pk, "account": other.pk, "role": "viewer"}
    assert press(at_root, f"{MEMBERS}add/", **data).status_code == 302
    row = Membership.objects.get(account=other)
    assert shut() == {"user:default:alice", "user:other:alice"}
    press(at_root, f"{MEMBERS}{row.pk}/delete/", post="yes")
    assert not Membership.objects.filter(account=other).exists()


def test_the_default_account_stays(at_root: Client, default: Account, other: Account) -> None:
    assert press(at_root, f"{ACCOUNTS}{default.pk}/delete/", post="yes").status_code == 403
    data = {"action": "delete_selected", "_selected_action": [default.pk, other.pk], "post": "yes"}
    press(at_root, ACCOUNTS, **data)
    assert Account.objects.filter(slug="default").exists()
    press(at_root, f"{ACCOUNTS}{other.pk}/delete/", post="yes")
    assert not Account.objects.filter(slug="other").exists()


@pytest.mark.parametrize(("who", "name"), [("boss", "alice"), ("other_boss", "otherboss")])
def test_staff_see_their_own_account_and_change_nothing(
    who: str,
    name: str,
    alice: User,
    other_boss: User,
    at_admin: LogIn,
    request: pytest.FixtureRequest,
) -> None:
    client = at_admin(request.getfixturevalue(who))
    for path in (USERS, MEMBERS):
        page = client.get(path).content.decode()
        assert name in page
        assert ("otherboss" in page) == (who == "other_boss")
    target = alice if who == "boss" else other_boss
    for path in (
        f"{USERS}{target.pk}/change/",
        f"{USERS}{target.pk}/password/",
        f"{USERS}{target.pk}/delete/",
        f"{MEMBERS}{target.memberships.get().pk}/change/",
        f"{USERS}add/",
    ):
        assert press(client, path, is_superuser="on", role="owner", post="yes").status_code == 403
    foreign = other_boss if who == "boss" else alice
    assert client.get(f"{USERS}{foreign.pk}/change/").status_code == 302


def test_plain_users_have_no_business_in_the_admin(alice: User, at_admin: LogIn) -> None:
    assert at_admin(alice).get(USERS).status_code == 302


@pytest.mark.parametrize("path", [USERS, ACCOUNTS, MEMBERS])
def test_every_list_and_form_opens(
    path: str, at_root: Client, alice: User, default: Account
) -> None:
    assert at_root.get(path).status_code == 200
    assert at_root.get(f"{path}add/").status_code == 200
    row = {USERS: alice, ACCOUNTS: default, MEMBERS: alice.memberships.get()}[path]
    assert at_root.get(f"{path}{row.pk}/change/").status_code == 200


def test_guessing_at_the_admins_door_is_locked_out(root: User, settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    client = Client(REMOTE_ADDR="127.0.0.1")
    data = {"username": "root", "password": "wrong"}
    answers = [client.post("/admin/login/", data).status_code for _ in range(4)]
    assert answers[-1] == 429
    assert client.post("/admin/login/", {**data, "password": PASSWORD}).status_code == 429
