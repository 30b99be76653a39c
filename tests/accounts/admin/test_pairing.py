"""Pairings in the Django admin: POST buttons with CSRF, the actor named, tenants apart."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from accounts.admin.pairing import browser
from accounts.models import Pairing, User
from accounts.services import pairing
from realtime.core.principal import Principal
from tests.accounts.conftest import Ask

LIST = "/admin/accounts/pairing/"
TOKEN = "c" * 32
LogIn = Callable[[User], Client]


def press(client: Client, path: str, *, csrf: bool = True, **data: Any) -> Any:
    """Post the page's form to `path`, as its button does."""
    if csrf:
        client.cookies["csrftoken"] = TOKEN
        data["csrfmiddlewaretoken"] = TOKEN
    return client.post(path, data)


def messages_of(client: Client) -> str:
    page = client.get(LIST).content.decode()
    return " ".join(re.findall(r'<li class="(?:success|error)">(.*?)</li>', page, re.DOTALL))


def actions(page: str) -> list[str]:
    return re.findall(r'formaction="([^"]+)"', page)


def test_what_waits_comes_first_with_its_buttons(
    ask: Ask, paired: Any, boss: User, at_admin: LogIn
) -> None:
    waiting = ask(user_id="carol", user_agent="Firefox", address="10.9.8.7")
    Pairing.objects.filter(code=waiting.code).update(created_at="2020-01-01T00:00Z")
    page = at_admin(boss).get(LIST).content.decode()
    assert page.index(waiting.code) < page.index(paired.code)
    for shown in ("carol", "Firefox", "10.9.8.7", "csrfmiddlewaretoken"):
        assert shown in page
    device = Pairing.objects.get(status="approved")
    assert actions(page) == [
        f"{LIST}code/{waiting.code}/approve/",
        f"{LIST}code/{waiting.code}/deny/",
        f"{LIST}{device.pk}/revoke/",
    ]


def test_the_detail_page_has_the_buttons_and_nothing_to_edit(
    ask: Ask, boss: User, at_admin: LogIn
) -> None:
    waiting = ask()
    row = Pairing.objects.get()
    page = at_admin(boss).get(f"{LIST}{row.pk}/change/").content.decode()
    assert f"{LIST}code/{waiting.code}/approve/" in actions(page)
    assert waiting.sender_id[:4] + "…" in page
    assert waiting.sender_id[:8] not in page, "it is the device's only proof"
    assert 'name="_save"' not in page and 'name="status"' not in page


def test_approve_deny_and_revoke_by_button(
    ask: Ask, boss: User, at_admin: LogIn, shut: Any
) -> None:
    first, second = ask(user_id="a"), ask(user_id="b")
    client = at_admin(boss)
    answer = press(client, f"{LIST}code/{first.code}/approve/")
    assert (answer.status_code, answer.url) == (302, LIST)
    assert "Approved browser device of a" in messages_of(client)
    press(client, f"{LIST}code/{second.code}/deny/")
    states = dict(Pairing.objects.values_list("user_id", "status"))
    assert states == {"a": "approved", "b": "denied"}
    device = Pairing.objects.get(user_id="a")
    press(client, f"{LIST}{device.pk}/revoke/")
    assert shut() == {device.handle}
    entries = LogEntry.objects.order_by("pk")
    assert {entry.user for entry in entries} == {boss}
    assert [entry.change_message.split()[0] for entry in entries] == [
        "approved",
        "denied",
        "revoked",
    ]
    assert device.decided_by == "boss"


def test_a_decision_that_comes_too_late_says_so(ask: Ask, boss: User, at_admin: LogIn) -> None:
    waiting = ask()
    client = at_admin(boss)
    press(client, f"{LIST}code/{waiting.code}/deny/")
    press(client, f"{LIST}code/{waiting.code}/approve/")
    assert "Nothing done: boss has decided already" in messages_of(client)
    assert Pairing.objects.get().status == "denied"
    late = ask(user_id="zoe")
    Pairing.objects.filter(code=late.code).update(expires_at="2020-01-01T00:00Z")
    press(client, f"{LIST}code/{late.code}/approve/")
    assert "has expired. The browser can ask again." in messages_of(client)
    press(client, f"{LIST}code/ZZZZ9999/approve/")
    assert "no longer there" in messages_of(client)
    assert not Pairing.objects.filter(status="approved").exists()


def test_of_two_administrators_the_first_decides_and_the_second_is_told_who_did(
    ask: Ask, boss: User, root: User, at_admin: LogIn
) -> None:
    waiting = ask()
    first, second = at_admin(boss), at_admin(root)
    press(first, f"{LIST}code/{waiting.code}/approve/")
    press(second, f"{LIST}code/{waiting.code}/deny/")
    assert "boss has decided already" in messages_of(second)
    assert Pairing.objects.get().status == "approved"
    assert [entry.user for entry in LogEntry.objects.all()] == [boss]


def test_nothing_happens_by_get_or_without_csrf(ask: Ask, boss: User, at_admin: LogIn) -> None:
    waiting = ask()
    client = at_admin(boss)
    for verb in ("approve", "deny"):
        assert client.get(f"{LIST}code/{waiting.code}/{verb}/").status_code == 405
        path = f"{LIST}code/{waiting.code}/{verb}/"
        assert press(client, path, csrf=False).status_code == 403
    assert client.get(f"{LIST}{Pairing.objects.get().pk}/revoke/").status_code == 405
    assert Pairing.objects.get().status == "pending"


def test_the_way_back_leads_to_our_own_pages_only(ask: Ask, boss: User, at_admin: LogIn) -> None:
    client = at_admin(boss)
    client.cookies["csrftoken"] = TOKEN
    for came_from, to in [
        ("http://testserver/admin/accounts/pairing/?status=pending", None),
        ("https://evil.example/", LIST),
    ]:
        path = f"{LIST}code/{ask().code}/deny/"
        data = {"csrfmiddlewaretoken": TOKEN}
        answer = client.post(path, data, headers={"Referer": came_from})
        assert answer.url == (to or came_from)


@pytest.mark.parametrize(
    ("who", "status"), [("alice", 302), ("other_boss", 302), ("staff_viewer", 403)]
)
def test_nobody_else_sees_or_decides(
    who: str,
    status: int,
    ask: Ask,
    paired: Any,
    at_admin: LogIn,
    request: pytest.FixtureRequest,
) -> None:
    waiting = ask(user_id="carol")
    device = Pairing.objects.get(status="approved")
    client = at_admin(request.getfixturevalue(who))
    for path in (
        f"{LIST}code/{waiting.code}/approve/",
        f"{LIST}code/{waiting.code}/deny/",
        f"{LIST}{device.pk}/revoke/",
    ):
        assert press(client, path).status_code == status
    page = client.get(LIST)
    assert waiting.code not in page.content.decode()
    bulk = {
        "action": "approve_selected",
        "_selected_action": Pairing.objects.get(code=waiting.code).pk,
    }
    press(client, LIST, **bulk)
    assert set(Pairing.objects.values_list("status", flat=True)) == {"pending", "approved"}


@pytest.fixture
def staff_viewer(default: Any) -> User:
    user = User.objects.create_user("staffviewer", is_staff=True)
    user.memberships.create(account=default, role="viewer")
    return user


def test_a_superuser_decides_in_every_account(
    ask: Ask, other: Any, root: User, at_admin: LogIn
) -> None:
    waiting = ask(tenant="other")
    client = at_admin(root)
    assert waiting.code in client.get(LIST).content.decode()
    press(client, f"{LIST}code/{waiting.code}/approve/")
    assert Pairing.objects.get().status == "approved"


@pytest.mark.parametrize(
    ("action", "before", "after"),
    [
        ("approve", "pending", "approved"),
        ("deny", "pending", "denied"),
        ("revoke", "approved", "revoked"),
    ],
)
def test_several_are_decided_at_once(
    action: str, before: str, after: str, ask: Ask, admin: Principal, boss: User, at_admin: LogIn
) -> None:
    for name in ("a", "b"):
        waiting = ask(user_id=name)
        if before == "approved":
            pairing.approve(principal=admin, code=waiting.code)
    chosen = [str(pk) for pk in Pairing.objects.values_list("pk", flat=True)]
    press(at_admin(boss), LIST, action=f"{action}_selected", _selected_action=chosen)
    assert set(Pairing.objects.values_list("status", flat=True)) == {after}


def test_one_refusal_in_a_bulk_does_not_stop_the_others(
    ask: Ask, admin: Principal, boss: User, at_admin: LogIn
) -> None:
    done, waiting = ask(user_id="a"), ask(user_id="b")
    pairing.deny(principal=admin, code=done.code)
    client = at_admin(boss)
    chosen = [str(pk) for pk in Pairing.objects.values_list("pk", flat=True)]
    press(client, LIST, action="approve_selected", _selected_action=chosen)
    assert dict(Pairing.objects.values_list("code", "status")) == {
        done.code: "denied",
        waiting.code: "approved",
    }
    assert "is denied." in messages_of(client)


def test_what_a_browser_says_is_text_and_never_markup(
    ask: Ask, boss: User, at_admin: LogIn
) -> None:
    bad = "<script>alert(1)</script>"
    ask(user_id=bad, user_agent=bad, address=bad)
    client = at_admin(boss)
    for path in (LIST, f"{LIST}{Pairing.objects.get().pk}/change/"):
        page = client.get(path).content.decode()
        assert bad not in page and "&lt;script&gt;" in page
    press(client, f"{LIST}code/{Pairing.objects.get().code}/approve/")
    assert bad not in client.get(LIST).content.decode()


def test_pairings_are_not_made_or_deleted_by_hand(ask: Ask, root: User, at_admin: LogIn) -> None:
    ask()
    client = at_admin(root)
    assert client.get(f"{LIST}add/").status_code == 403
    assert press(client, f"{LIST}{Pairing.objects.get().pk}/delete/", post="yes").status_code == 403
    assert (
        press(client, f"{LIST}{Pairing.objects.get().pk}/change/", status="approved").status_code
        == 403
    )
    assert Pairing.objects.get().status == "pending"


def test_a_device_that_may_still_choose_its_name_is_shown_as_such(
    ask: Ask, boss: User, admin: Principal, at_admin: LogIn
) -> None:
    words = "(takes the first name it claims)"
    client = at_admin(boss)
    named = ask(user_id="carol")
    assert words not in client.get(LIST).content.decode()
    pairing.deny(principal=admin, code=named.code)
    waiting = ask(user_id="")
    assert words in client.get(LIST).content.decode()
    pairing.approve(principal=admin, code=waiting.code)
    row = Pairing.objects.get(code=waiting.code)
    assert words in client.get(f"{LIST}{row.pk}/change/").content.decode()
    pairing.revoke(principal=admin, sender_id=waiting.sender_id)
    assert words not in client.get(LIST).content.decode()


@pytest.mark.parametrize(
    ("says", "shown"),
    [
        (
            "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0 Safari/537",
            "Chrome on Linux",
        ),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537 Edg/140", "Edge on Windows"),
        (
            "Mozilla/5.0 (iPhone; CPU OS 18_0 like Mac OS X) Safari/604",
            "Safari on iPhone",
        ),
        ("curl/8.1", "curl/8.1"),
        ("x" * 255, "x" * 40),
    ],
)
def test_a_browser_is_named_as_people_name_it(says: str, shown: str) -> None:
    assert browser(says) == shown


def test_how_long_is_left_is_told_to_the_second(ask: Ask, boss: User, at_admin: LogIn) -> None:
    ask()
    ends = timezone.now() + dt.timedelta(minutes=5, seconds=30, milliseconds=900)
    Pairing.objects.update(expires_at=ends)
    page = at_admin(boss).get(LIST).content.decode()
    moment = ends.isoformat(timespec="seconds")
    assert re.search(rf'class="left" datetime="{re.escape(moment)}" [^>]*>5:(30|2\d)<', page)


def test_the_scripts_reading_leaves_the_messages_to_the_person(
    ask: Ask, boss: User, at_admin: LogIn
) -> None:
    waiting = ask()
    client = at_admin(boss)
    press(client, f"{LIST}code/{waiting.code}/approve/")
    quiet = client.get(LIST, headers={"X-Quiet": "1"}).content.decode()
    assert waiting.code in quiet and "messagelist" not in quiet
    assert "Approved browser device" in messages_of(client)


def test_an_outlived_request_has_no_buttons(ask: Ask, boss: User, at_admin: LogIn) -> None:
    ask()
    Pairing.objects.update(expires_at="2020-01-01T00:00Z")
    page = at_admin(boss).get(LIST).content.decode()
    assert actions(page) == [] and "expired" in page
