from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from accounts.models import Account, Membership, User
from realtime.bus import live
from realtime.core import addresses
from realtime.core.events import DISCONNECT, NOTICE
from realtime.core.principal import Principal
from realtime.models import Announcement
from sessions_app.admin.records import NEWEST_EVENTS
from sessions_app.models import Presence, Run, Session
from sessions_app.services import presence, runs
from sessions_app.services.sent import Sent

Say = Callable[..., Sent]
MODELS = ["session", "run", "presence"]


def staff(name: str, account: str, *, superuser: bool = False, role: str = "admin") -> Client:
    """A browser in which a staff member has logged in, who has a role in an account."""
    user = User.objects.create_user(name, is_staff=True, is_superuser=superuser)
    home = Account.objects.get(slug=account)
    Membership.objects.create(user=user, account=home, role=role)
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def rows(say: Say, alice: Principal, other_alice: Principal, node: str) -> None:
    """A session with a run, and a connection, in each of the two accounts."""
    for principal in (alice, other_alice):
        key = f"of-{principal.account}"
        runs.finish(
            run_id=say("hello", session_key=key, principal=principal).run_id,
            status="completed",
            content="<script>alert(1)</script>",
        )
        presence.arrive(
            principal=principal, connection=f"in-{principal.account}", node=node, protocol="goclaw"
        )


def page(client: Client, path: str) -> str:
    answer = client.get(f"/admin/sessions_app/{path}/")
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize(
    ("model", "shown"), [("session", "of-"), ("run", "of-"), ("presence", "in-")]
)
def test_staff_see_their_own_accounts_rows(rows: None, model: str, shown: str) -> None:
    ours = page(staff("ours", "default"), model)
    theirs = page(staff("theirs", "other"), model)
    assert f"{shown}default" in ours and f"{shown}other" not in ours
    assert f"{shown}other" in theirs and f"{shown}default" not in theirs


@pytest.mark.parametrize("model", MODELS)
def test_a_superuser_sees_every_account(rows: None, model: str) -> None:
    text = page(staff("boss", "default", superuser=True), model)
    assert "-default" in text and "-other" in text


@pytest.mark.parametrize("model", MODELS)
def test_staff_who_are_no_administrators_see_nothing(rows: None, model: str) -> None:
    client = staff("ours", "default", role="operator")
    assert client.get(f"/admin/sessions_app/{model}/").status_code == 403


@pytest.mark.parametrize("model", MODELS)
def test_who_has_not_logged_in_is_asked_to(client: Client, rows: None, model: str) -> None:
    answer = client.get(f"/admin/sessions_app/{model}/")
    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/")


def test_a_foreign_session_cannot_be_opened(rows: None) -> None:
    foreign = Session.objects.get(key="of-other")
    answer = staff("ours", "default").get(f"/admin/sessions_app/session/{foreign.pk}/change/")
    assert answer.status_code == 302
    assert answer["Location"] == "/admin/"


def test_a_session_shows_its_events_escaped(rows: None) -> None:
    session = Session.objects.get(key="of-default")
    text = page(staff("ours", "default"), f"session/{session.pk}/change")
    assert "hello" in text
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert(1)" not in text


def test_a_long_session_shows_its_newest_events(rows: None) -> None:
    session = Session.objects.get(key="of-default")
    for number in range(NEWEST_EVENTS):
        session.append(kind="user", content=f"number-{number}.")
    text = page(staff("ours", "default"), f"session/{session.pk}/change")
    assert "number-0." in text and f"number-{NEWEST_EVENTS - 1}." in text
    assert "alert(1)" not in text


@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_changed_by_hand(rows: None, model: str) -> None:
    client = staff("boss", "default", superuser=True)
    pk = {
        "session": Session.objects.get(key="of-default").pk,
        "run": Run.objects.get(session__key="of-default").pk,
        "presence": "in-default",
    }[model]
    for path in ("add", f"{pk}/delete"):
        url = f"/admin/sessions_app/{model}/{path}/"
        assert client.post(url, {"post": "yes"}).status_code == 403
    changed = client.post(f"/admin/sessions_app/{model}/{pk}/change/", {"owner": "bob"})
    assert changed.status_code == 403
    assert Session.objects.filter(owner="alice").count() == 2


# --- connections ---

HERE = "/admin/sessions_app/presence/"


def test_connections_of_a_process_that_is_gone_are_not_shown(rows: None, dead_node: str) -> None:
    Presence.objects.filter(pk="in-default").update(node=dead_node)
    client = staff("boss", "default", superuser=True)
    text = page(client, "presence")
    assert "in-other" in text and "in-default" not in text
    assert client.post(f"{HERE}in-default/disconnect/").status_code == 302
    assert not Announcement.objects.filter(event__name=DISCONNECT).exists()


def test_a_connections_row_says_what_waits_and_has_its_buttons(rows: None) -> None:
    Presence.objects.filter(pk="in-default").update(queued_bytes=70_000, address="192.0.2.9")
    text = page(staff("ours", "default"), "presence")
    for shown in ("alice", "operator", "goclaw", "192.0.2.9", "68.4\xa0KB", "<time"):
        assert shown in text
    assert f'formaction="{HERE}in-default/disconnect/"' in text
    assert f'<form id="say-in-default" method="post" action="{HERE}in-default/message/">' in text
    assert 'form="say-in-default"' in text
    assert 'form="say-in-default"' in page(staff("too", "default"), "presence/in-default/change")


def test_where_nothing_can_be_said_there_is_no_button_for_it(
    rows: None, node: str, alice: Principal
) -> None:
    for protocol in presence.MUTE:
        presence.arrive(principal=alice, connection=protocol, node=node, protocol=protocol)
    text = page(staff("ours", "default"), "presence")
    assert 'form="say-in-default"' in text
    for protocol in presence.MUTE:
        assert f'formaction="{HERE}{protocol}/disconnect/"' in text
        assert f'form="say-{protocol}"' not in text


def test_a_connection_is_shown_with_its_client_its_group_and_when_it_was_heard_of_last(
    rows: None, node: str, alice: Principal, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    presence.arrive(
        principal=alice,
        connection="in-group",
        node=node,
        protocol="aether",
        place="aether:team <1>",
        client_id="laptop <2>",
    )
    settings.REDIS_URL = "redis://somewhere"
    moment = dt.datetime(2031, 1, 2, 3, 4, 5, tzinfo=dt.UTC).timestamp()
    answers = SimpleNamespace(read=lambda *asked: live.Told({"in-group": moment}, {node}))
    monkeypatch.setattr(live, "reader", lambda url: answers)
    client = staff("ours", "default")
    for path in ("presence", "presence/in-group/change"):
        text = page(client, path)
        for shown in ("laptop &lt;2&gt;", "team &lt;1&gt;", "2031-01-02 03:04:05 UTC"):
            assert shown in text
    filtered = client.get(f"{HERE}?protocol__exact=aether").content.decode()
    assert "in-group" in filtered and "in-default" not in filtered
    assert "in-group" in client.get(f"{HERE}?q=laptop").content.decode()
    assert "in-group" not in page(staff("theirs", "other"), "presence")


def said() -> list[tuple[list[str], str]]:
    return [
        (row.addresses[0], row.event["data"].get("text", ""))
        for row in Announcement.objects.filter(event__name__in=[DISCONNECT, NOTICE]).order_by("pk")
        if "connection:" in row.addresses[0][2]
    ]


def test_an_administrator_says_a_word_and_disconnects(rows: None) -> None:
    client = staff("ours", "default")
    target = addresses.connection("in-default").pack()
    answer = client.post(f"{HERE}in-default/message/", {"text": "<b>hi</b>"}, follow=True)
    assert "&lt;b&gt;hi" in answer.content.decode()
    client.post(f"{HERE}in-default/disconnect/")
    bulk = {"action": "disconnect_selected", "_selected_action": ["in-default"]}
    client.post(HERE, bulk)
    assert said() == [(target, "<b>hi</b>"), (target, ""), (target, "")]
    assert {entry.user.username for entry in LogEntry.objects.all()} == {"ours"}
    assert client.get(f"{HERE}in-default/disconnect/").status_code == 405
    empty = client.post(f"{HERE}in-default/message/", {"text": " "}, follow=True)
    assert "message needs words" in empty.content.decode()


@pytest.mark.parametrize(
    ("account", "role", "status"), [("other", "admin", 302), ("default", "operator", 403)]
)
def test_nobody_else_acts_on_a_connection(rows: None, account: str, role: str, status: int) -> None:
    client = staff("theirs", account, role=role)
    for path, data in [("disconnect", {}), ("message", {"text": "hello"})]:
        answer = client.post(f"{HERE}in-default/{path}/", data)
        assert answer.status_code == status
    bulk = {"action": "disconnect_selected", "_selected_action": ["in-default"]}
    client.post(HERE, bulk)
    assert said() == []


def test_acting_needs_the_forms_token(rows: None) -> None:
    client = staff("ours", "default")
    client.handler.enforce_csrf_checks = True
    for path in ("disconnect", "message"):
        assert client.post(f"{HERE}in-default/{path}/", {"text": "x"}).status_code == 403
    assert said() == []


def test_the_pages_ask_the_database_a_fixed_number_of_times(
    rows: None, say: Say, django_assert_max_num_queries: Any
) -> None:
    client = staff("boss", "default", superuser=True)
    for number in range(20):
        say("hi", session_key=f"more-{number}")
    for model in MODELS:
        with django_assert_max_num_queries(12):
            page(client, model)
