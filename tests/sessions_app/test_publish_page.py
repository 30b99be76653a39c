"""The admin's page that publishes on a topic: for whom, in which account, and what stays behind."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from accounts.models import Account
from realtime.core import addresses
from tests.sessions_app.test_admin import staff

PUBLISH = "/admin/publish/"
LINK = f'href="{PUBLISH}"'


def text_of(answer: Any) -> str:
    assert answer.status_code == 200
    text: str = answer.content.decode()
    return text


@pytest.fixture
def clerk(accounts: None) -> Client:
    """Staff of the account `default` with role operator."""
    return staff("clerk", "default", role="operator")


def test_it_is_for_staff_who_are_operators(client: Client, accounts: None, clerk: Client) -> None:
    assert client.get(PUBLISH)["Location"].startswith("/admin/login/")
    viewer = staff("viewer", "default", role="viewer")
    for answer in (viewer.get(PUBLISH), viewer.post(PUBLISH, {"channel": "c", "payload": "1"})):
        assert answer.status_code == 403
    assert LINK not in text_of(viewer.get("/admin/"))
    for who in (clerk, staff("boss", "other")):
        assert 'name="tenant"' not in text_of(who.get(PUBLISH))
        assert LINK in text_of(who.get("/admin/"))
    assert 'value="news"' in text_of(clerk.get(f"{PUBLISH}?channel=news"))


def test_what_is_published_is_heard_in_ones_own_account_and_noted(clerk, told) -> None:
    given = {"channel": " a b💙", "payload": '{"n": 1}', "tenant": "2"}
    answer = clerk.post(PUBLISH, given, follow=True)
    assert "Published on  a b💙." in text_of(answer)
    assert 'value=" a b💙"' in text_of(answer), "ready for the next word"
    ((targets, event),) = told("nexus.broadcast")
    assert targets == [addresses.topic("nexus:default", " a b💙")]
    assert event.data["data"] == {"n": 1}
    entry = LogEntry.objects.get()
    assert entry.change_message == "published on ' a b💙' by clerk (session)"
    assert entry.object_id == str(Account.objects.get(slug="default").pk)


def test_a_superuser_chooses_the_account(accounts: None, told) -> None:
    chief = staff("chief", "default", superuser=True)
    assert 'name="tenant"' in text_of(chief.get(PUBLISH))
    other = Account.objects.get(slug="other")
    chief.post(PUBLISH, {"channel": "c", "payload": "null", "tenant": str(other.pk)})
    ((targets, event),) = told("nexus.broadcast")
    assert (targets, event.data["data"]) == ([addresses.topic("nexus:other", "c")], None)
    assert LogEntry.objects.get().object_id == str(other.pk)


@pytest.mark.parametrize(
    ("channel", "payload", "words"),
    [
        ("c", "{", "This is not JSON"),
        ("c", "[" * 5000, "This is not JSON"),
        ("", "1", "This field is required"),
        ("x" * 257, "1", "at most 256 characters"),
        ("agent.edge_1.commands", "1", "take no publishing"),
        ("c", '{"a": "\\u0000"}', "U+0000"),
    ],
    ids=str,
)
def test_what_is_refused_stands_in_the_form_and_leaves_nothing(
    clerk, told, channel, payload, words
) -> None:
    page = text_of(clerk.post(PUBLISH, {"channel": channel, "payload": payload}))
    assert words in page and "Nothing was published." in page
    assert told() == []
    assert not LogEntry.objects.exists()
