from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings as configured
from django.test import Client

from realtime.bus import live
from realtime.core import addresses
from realtime.core.events import DISCONNECT, NOTICE
from realtime.core.principal import Principal
from sessions_app.services import presence

Bearer = Callable[[str, str, str], dict[str, str]]


@pytest.fixture
def gateway() -> dict[str, str]:
    """Headers of whoever has the gateway token: an admin of `default`."""
    return {"authorization": f"Bearer {configured.GATEWAY_TOKEN}"}


@pytest.fixture
def present(node: str, alice: Principal, other_alice: Principal) -> None:
    for connection, principal in [("c-1", alice), ("o-1", other_alice), ("c-2", alice)]:
        presence.arrive(
            principal=principal,
            connection=connection,
            node=node,
            protocol="goclaw",
            address="127.0.0.1",
        )


@pytest.mark.parametrize("path", ["/api/connections/", "/api/connections"])
def test_an_admin_lists_the_accounts_connections(
    client: Client, present: None, gateway: dict[str, str], path: str
) -> None:
    answer = client.get(path, headers=gateway)
    assert answer.status_code == 200
    body = answer.json()
    assert body["next"] is None
    assert [row["id"] for row in body["results"]] == ["c-2", "c-1"]
    assert set(body["results"][0]) == {
        "id",
        "user",
        "protocol",
        "place",
        "address",
        "role",
        "since",
        "last_seen",
        "queued_bytes",
        "node",
    }


def test_when_a_connection_was_last_heard_of_is_what_redis_has(
    client: Client,
    present: None,
    gateway: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    settings.REDIS_URL = "redis://somewhere"
    told = live.Told({"c-1": dt.datetime(2031, 1, 1, tzinfo=dt.UTC).timestamp()}, {"node-1"})
    answers = SimpleNamespace(read=lambda *asked: told)
    monkeypatch.setattr(live, "reader", lambda url: answers)
    rows = client.get("/api/connections/", headers=gateway).json()["results"]
    assert {row["id"]: row["last_seen"][:4] == "2031" for row in rows} == {
        "c-1": True,
        "c-2": False,
    }


def test_a_list_is_paged(client: Client, present: None, gateway: dict[str, str]) -> None:
    first = client.get("/api/connections/?limit=1", headers=gateway).json()
    second = client.get(first["next"], headers=gateway).json()
    assert [row["id"] for row in first["results"] + second["results"]] == ["c-2", "c-1"]
    assert second["next"] is None


@pytest.mark.parametrize("slash", ["/", ""])
def test_an_admin_ends_a_connection(
    client: Client, present: None, gateway: dict[str, str], told: Any, slash: str
) -> None:
    answer = client.post(f"/api/connections/c-1/disconnect{slash}", headers=gateway)
    assert (answer.status_code, answer.json()) == (202, {})
    assert told(DISCONNECT)[0][0] == [addresses.connection("c-1")]


def test_another_accounts_admin_sees_and_ends_only_theirs(
    client: Client, present: None, bearer: Bearer, told: Any
) -> None:
    headers = bearer("boss", "admin", "other")
    rows = client.get("/api/connections/", headers=headers).json()["results"]
    assert [row["id"] for row in rows] == ["o-1"]
    answer = client.post("/api/connections/c-1/disconnect/", headers=headers)
    assert answer.status_code == 404
    assert answer.json() == {"error": {"code": "NOT_FOUND", "message": "connection not found: c-1"}}
    assert told("system.end") == []


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_who_is_no_admin_gets_403(
    client: Client, present: None, bearer: Bearer, told: Any, role: str
) -> None:
    headers = bearer("bob", role, "default")
    assert client.get("/api/connections/", headers=headers).status_code == 403
    answer = client.post("/api/connections/c-1/disconnect/", headers=headers)
    assert answer.status_code == 403
    assert told("system.end") == []


def test_who_shows_nothing_gets_401(client: Client, present: None, told: Any) -> None:
    assert client.get("/api/connections/").status_code == 401
    assert client.post("/api/connections/c-1/disconnect/").status_code == 401
    assert told("system.end") == []


def test_nothing_is_ended_by_looking(
    client: Client, present: None, gateway: dict[str, str], told: Any
) -> None:
    answer = client.get("/api/connections/c-1/disconnect/", headers=gateway)
    assert answer.status_code == 405
    assert told("system.end") == []


@pytest.mark.parametrize("slash", ["/", ""])
def test_an_admin_says_something_to_a_connection(
    client: Client, present: None, gateway: dict[str, str], told: Any, slash: str
) -> None:
    path = f"/api/connections/c-1/message{slash}"
    answer = client.post(path, {"text": "hello"}, "application/json", headers=gateway)
    assert (answer.status_code, answer.json()) == (202, {})
    [(targets, event)] = told(NOTICE)
    assert (targets, event.data["text"]) == ([addresses.connection("c-1")], "hello")


@pytest.mark.parametrize("body", [{}, {"text": ""}, {"text": " "}, {"text": "x" * 2001}])
def test_a_message_without_words_is_refused(
    client: Client, present: None, gateway: dict[str, str], told: Any, body: dict[str, str]
) -> None:
    path = "/api/connections/c-1/message/"
    answer = client.post(path, body, "application/json", headers=gateway)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "INVALID_REQUEST"
    assert told(NOTICE) == []


@pytest.mark.parametrize(
    ("role", "account", "status"),
    [("operator", "default", 403), ("admin", "other", 404), ("", "", 401)],
)
def test_nobody_else_says_anything_to_a_connection(
    client: Client,
    present: None,
    bearer: Bearer,
    told: Any,
    role: str,
    account: str,
    status: int,
) -> None:
    headers = bearer("bob", role, account) if role else {}
    path = "/api/connections/c-1/message/"
    answer = client.post(path, {"text": "hello"}, "application/json", headers=headers)
    assert answer.status_code == status
    assert told(NOTICE) == []
