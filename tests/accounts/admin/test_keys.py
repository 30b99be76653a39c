"""API keys in the Django admin: made by the service, shown once, revoked by button."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.models import ApiKey, User
from accounts.services import journal, keys
from tests.accounts.admin.test_pairing import press
from tests.accounts.conftest import GATEWAY_TOKEN

LIST = "/admin/accounts/apikey/"
LogIn = Callable[[User], Client]


@pytest.fixture
def made(alice: User) -> keys.NewKey:
    return keys.create(principal=journal.command_line(), name="laptop", user=alice)


@pytest.fixture
def keys_shut(shut: Any) -> Callable[[], set[str]]:
    """The keys whose sockets have been told to close."""
    return lambda: {handle for handle in shut() if handle.startswith("key:")}


def wanted(user: User, **fields: Any) -> dict[str, Any]:
    account = user.home().pk
    return {"name": "k", "user": user.pk, "account": account, "owner_id": ""} | fields


def test_a_key_is_made_and_shown_once(boss: User, alice: User, at_admin: LogIn) -> None:
    client = at_admin(boss)
    answer = press(client, f"{LIST}add/", **wanted(alice, scopes=["operator.read"]))
    assert answer.status_code == 302
    row = ApiKey.objects.get()
    assert (row.user, row.scopes) == (alice, ["operator.read"])
    page = client.get(LIST).content.decode()
    (text,) = set(re.findall(r"gwk_[A-Za-z0-9_-]{52}", page))
    who = keys.recognise(text)
    assert who and (who.id, who.role) == ("alice", "viewer")
    assert text not in client.get(LIST).content.decode()
    assert text not in client.get(f"{LIST}{row.pk}/change/").content.decode()


def test_a_refusal_of_the_service_stands_in_the_form(
    boss: User, root: User, at_admin: LogIn
) -> None:
    page = press(at_admin(boss), f"{LIST}add/", **wanted(root))
    assert page.status_code == 200
    assert "beyond your own authority" in page.content.decode()
    assert not ApiKey.objects.exists()


def test_people_of_other_accounts_cannot_be_chosen(
    boss: User, other_boss: User, at_admin: LogIn
) -> None:
    page = press(at_admin(boss), f"{LIST}add/", **wanted(other_boss))
    assert page.status_code == 200 and "valid choice" in page.content.decode()
    assert not ApiKey.objects.exists()


def test_a_key_is_revoked_by_button_and_in_bulk(
    made: keys.NewKey, alice: User, boss: User, at_admin: LogIn, keys_shut: Any
) -> None:
    second = keys.create(principal=journal.command_line(), name="second", user=alice)
    client = at_admin(boss)
    assert client.get(f"{LIST}{made.row.pk}/revoke/").status_code == 405
    assert press(client, f"{LIST}{made.row.pk}/revoke/", csrf=False).status_code == 403
    assert keys.recognise(made.text)
    press(client, f"{LIST}{made.row.pk}/revoke/")
    press(client, LIST, action="revoke_selected", _selected_action=[second.row.pk])
    assert keys.recognise(made.text) is None and keys.recognise(second.text) is None
    assert keys_shut() == {f"key:{made.row.pk}", f"key:{second.row.pk}"}


@pytest.mark.parametrize("who", ["alice", "other_boss"])
def test_nobody_else_sees_or_revokes_it(
    who: str, made: keys.NewKey, at_admin: LogIn, request: pytest.FixtureRequest
) -> None:
    client = at_admin(request.getfixturevalue(who))
    press(client, f"{LIST}{made.row.pk}/revoke/")
    assert made.row.prefix not in client.get(LIST).content.decode()
    assert keys.recognise(made.text)


def test_a_key_cannot_be_edited(made: keys.NewKey, root: User, at_admin: LogIn) -> None:
    answer = press(at_admin(root), f"{LIST}{made.row.pk}/change/", name="other", scopes=[])
    assert answer.status_code == 403
    assert ApiKey.objects.get().name == "laptop"


def test_a_superuser_deletes_a_key_and_its_sockets_close(
    made: keys.NewKey, root: User, at_admin: LogIn, keys_shut: Any
) -> None:
    press(at_admin(root), f"{LIST}{made.row.pk}/delete/", post="yes")
    assert not ApiKey.objects.exists()
    assert keys_shut() == {f"key:{made.row.pk}"}


def test_every_page_opens(made: keys.NewKey, boss: User, at_admin: LogIn) -> None:
    client = at_admin(boss)
    for path in (LIST, f"{LIST}add/", f"{LIST}{made.row.pk}/change/"):
        assert client.get(path).status_code == 200


def test_a_key_without_a_user_is_seen_and_revoked_by_its_accounts_admin(
    boss: User, other_boss: User, at_admin: LogIn, keys_shut: Any, connect: Any
) -> None:
    robot = connect(token=GATEWAY_TOKEN, user_id="robot")
    lent = keys.create(principal=robot, name="lent", scopes_=["operator.read"]).row
    stranger, client = at_admin(other_boss), at_admin(boss)
    assert lent.prefix not in stranger.get(LIST).content.decode()
    for path in (LIST, f"{LIST}?q=robot", f"{LIST}{lent.pk}/change/"):
        page = client.get(path).content.decode()
        assert lent.prefix in page and "robot" in page
    press(stranger, f"{LIST}{lent.pk}/revoke/")
    assert keys_shut() == set()
    press(client, f"{LIST}{lent.pk}/revoke/")
    assert keys_shut() == {f"key:{lent.pk}"}


def test_the_form_asks_for_a_user(boss: User, alice: User, at_admin: LogIn) -> None:
    page = press(at_admin(boss), f"{LIST}add/", **(wanted(alice) | {"user": ""}))
    assert page.status_code == 200 and "This field is required" in page.content.decode()
    assert not ApiKey.objects.exists()
