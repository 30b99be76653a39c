"""Endpoints of models in the admin: superusers add and change them; a key is shown to nobody."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from sessions_app.models import AgentEndpoint
from sessions_app.services import endpoints
from tests.sessions_app.agents.asking import key_of
from tests.sessions_app.test_admin import staff

KEY = "sk-never-to-be-seen"
HERE = "/admin/sessions_app/agentendpoint/"
FAST = {"name": "fast", "base_url": "https://models.example/v1", "model": "small"}


@pytest.fixture
def boss(accounts: None) -> Client:
    return staff("boss", "default", superuser=True)


def made(boss: Client, **fields: Any) -> AgentEndpoint:
    answer = boss.post(f"{HERE}add/", {**FAST, "key": KEY, **fields})
    assert answer.status_code == 302, answer.content.decode()
    return AgentEndpoint.objects.get()


def test_a_superuser_adds_one_and_no_page_shows_its_key(boss: Client) -> None:
    row = made(boss)
    assert key_of("fast") == KEY
    for path in ("", f"{row.pk}/change/", f"{row.pk}/delete/", f"{row.pk}/history/"):
        answer = boss.get(HERE + path)
        assert answer.status_code == 200
        text = answer.content.decode()
        assert "fast" in text
        assert KEY not in text and row.sealed_key not in text
    assert KEY not in str(list(LogEntry.objects.values()))


def test_a_change_keeps_the_key_unless_another_one_is_given(boss: Client) -> None:
    row = made(boss)
    page = f"{HERE}{row.pk}/change/"
    changed = {**FAST, "name": "renamed", "model": "large"}
    assert boss.post(page, changed).status_code == 302
    agent = endpoints.agent("fast")
    assert (agent.model, key_of("fast")) == ("large", KEY), "and the name stays"
    assert boss.post(page, {**changed, "key": "sk-next"}).status_code == 302
    assert key_of("fast") == "sk-next"
    assert boss.post(page, {**changed, "forget_key": "on"}).status_code == 302
    assert key_of("fast") == ""


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", "echo", "another agent has this name"),
        ("name", "fast", "another agent has this name"),
        ("base_url", "https://me:secret@models.example", "without a password"),
        ("key", "with space", "without spaces"),
    ],
)
def test_a_refusal_stands_in_the_form_and_the_key_does_not(
    boss: Client, field: str, value: str, words: str
) -> None:
    made(boss)
    answer = boss.post(f"{HERE}add/", {**FAST, "name": "other", "key": KEY, field: value})
    text = answer.content.decode()
    assert answer.status_code == 200 and words in text
    assert KEY not in text and "with space" not in text
    assert AgentEndpoint.objects.count() == 1


def test_a_key_is_not_carried_to_another_host(boss: Client) -> None:
    row = made(boss)
    moved = {**FAST, "base_url": "https://thief.example/v1"}
    answer = boss.post(f"{HERE}{row.pk}/change/", moved)
    assert "is for https://models.example:443 alone" in answer.content.decode()
    assert key_of("fast") == KEY


def test_they_are_removed_one_by_one_and_together(boss: Client) -> None:
    row = made(boss)
    assert boss.post(f"{HERE}{row.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not AgentEndpoint.objects.exists()
    row = made(boss)
    chosen = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    assert boss.post(HERE, chosen).status_code == 302
    assert not AgentEndpoint.objects.exists()


@pytest.mark.parametrize(
    ("account", "role"), [("default", "admin"), ("other", "admin"), ("default", "operator")]
)
def test_nobody_else_sees_or_touches_them(boss: Client, account: str, role: str) -> None:
    row = made(boss)
    client = staff("ours", account, role=role)
    paths = ("", "add/", f"{row.pk}/change/", f"{row.pk}/delete/", f"{row.pk}/history/")
    for path in paths:
        assert client.get(HERE + path).status_code in {302, 403}, path
        assert client.post(HERE + path, {**FAST, "post": "yes"}).status_code in {302, 403}, path
    assert "agentendpoint" not in client.get("/admin/").content.decode()
    assert AgentEndpoint.objects.get().base_url == FAST["base_url"]


def test_who_has_not_logged_in_is_asked_to(client: Client, db: None) -> None:
    assert client.get(HERE)["Location"].startswith("/admin/login/")
