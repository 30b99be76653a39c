"""Who is here, over HTTP. Source: CONTRACT (HTTP)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from realtime.core.principal import Principal
from sessions_app.services import presence

Get = Callable[..., Any]


@pytest.fixture
def get(client: Client, bearer: Any) -> Get:
    """`get(query, who)`; bob is an operator, val a viewer, carol another account's admin."""
    headers: dict[str, dict[str, str]] = {
        "nobody": {},
        "bob": bearer("bob", "operator"),
        "val": bearer("val", "viewer"),
        "carol": bearer("carol", "admin", "other"),
    }

    def go(query: str = "", who: str = "bob", path: str = "/api/presence/") -> Any:
        return client.get(path + query, headers=headers[who])

    return go


@pytest.fixture
def present(node: str, alice: Principal, other_alice: Principal) -> None:
    for connection, principal, group, client_id in [
        ("1", alice, "g", "laptop"),
        ("2", alice, "g", "laptop"),
        ("3", alice, "g", "phone"),
        ("4", alice, "a b/c:ü", "odd"),
        ("5", other_alice, "g", "theirs"),
    ]:
        presence.arrive(
            principal=principal,
            connection=connection,
            node=node,
            protocol="aether",
            place=f"aether:{group}",
            client_id=client_id,
        )
    presence.arrive(principal=alice, connection="6", node=node, protocol="goclaw", place="goclaw")


def clients(answer: Any) -> list[str | None]:
    assert answer.status_code == 200
    return [one["client_id"] for one in answer.json()["members"]]


@pytest.mark.parametrize("path", ["/api/presence/", "/api/presence"])
def test_an_operator_lists_who_is_here(present: None, get: Get, path: str) -> None:
    answer = get(path=path)
    assert clients(answer) == ["laptop", "phone", "odd", None]
    body = answer.json()
    assert body["next"] is None
    first, *_, last = body["members"]
    assert list(first) == ["client_id", "user", "group", "protocol", "since", "last_seen"]
    assert (first["user"], first["group"], first["protocol"]) == ("alice", "g", "aether")
    assert (last["user"], last["group"], last["protocol"]) == ("alice", None, "goclaw")


def test_one_group_may_be_asked_for(present: None, get: Get) -> None:
    assert clients(get("?group=g")) == ["laptop", "phone"]
    assert clients(get("?group=a%20b%2Fc%3A%C3%BC")) == ["odd"]
    assert clients(get("?group=nobody")) == clients(get("?group=goclaw")) == []
    assert len(clients(get("?group="))) == 4


def test_a_group_that_cannot_be_is_404(present: None, get: Get) -> None:
    for group in ("%00", "x" * 129):
        answer = get(f"?group={group}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")


def test_another_account_sees_only_its_own(present: None, get: Get) -> None:
    for query in ("", "?group=g"):
        assert clients(get(query, "carol")) == ["theirs"]
    assert clients(get("?group=a%20b%2Fc%3A%C3%BC", "carol")) == []


@pytest.mark.parametrize(("who", "status"), [("val", 403), ("nobody", 401)])
def test_nobody_else_sees_anybody(present: None, get: Get, who: str, status: int) -> None:
    answer = get(who=who)
    assert answer.status_code == status
    assert "laptop" not in answer.content.decode()


def test_it_is_paged_without_counting_anybody_twice(present: None, get: Get) -> None:
    path, found = "/api/presence/?limit=1", []
    while path:
        answer = get(path=path)
        found += clients(answer)
        path = answer.json()["next"]
    assert found == ["laptop", "phone", "odd", None]


def test_a_wrong_cursor_is_answered(present: None, get: Get) -> None:
    assert get("?cursor=nonsense").status_code == 404


def test_nothing_is_changed_here(present: None, get: Get, client: Client) -> None:
    assert client.post("/api/presence/").status_code in {401, 405}
