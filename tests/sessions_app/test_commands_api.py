"""Commands for edge agents over HTTP. Source: CONTRACT (HTTP), PROTOCOLS.md 6."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.models import EdgeAgent
from accounts.pagination import Pages
from sessions_app.models import ScheduledCommand
from tests.sessions_app.edge import Agent

PATH = "/api/edge/commands/"
ASKED = {"agent_id": "edge_1", "command_type": "set_rule", "payload": {"text": "hey 💙"}}
LIST_FIELDS = {
    "command_id",
    "agent_id",
    "seq",
    "command_type",
    "status",
    "priority",
    "delivery",
    "created_by",
    "created_at",
    "deliver_at",
    "expires_at",
    "idempotency_key",
    "attempts",
    "written_at",
    "acknowledged_at",
    "executed_at",
    "result",
    "error",
}

Ask = Callable[..., Any]


@pytest.fixture
def people(bearer: Any) -> dict[str, dict[str, str]]:
    """Headers: alice and bob (operators), boss (admin), viewer; carol is another account's."""
    roles = [
        ("alice", "operator", "default"),
        ("bob", "operator", "default"),
        ("boss", "admin", "default"),
        ("viewer", "viewer", "default"),
        ("carol", "admin", "other"),
    ]
    return {name: bearer(name, role, account) for name, role, account in roles}


@pytest.fixture
def post(client: Client, people: Any) -> Ask:
    """`post(path="", who="alice", **fields)`: the fields over ASKED, to the queue."""

    def go(path: str = PATH, who: str = "alice", raw: str | None = None, **fields: Any) -> Any:
        body = json.dumps(ASKED | fields) if raw is None else raw
        return client.post(
            path, data=body, content_type="application/json", headers=people.get(who, {})
        )

    return go


@pytest.fixture
def get(client: Client, people: Any) -> Ask:
    return lambda path=PATH, who="alice": client.get(path, headers=people.get(who, {}))


def refusal(answer: Any) -> tuple[int, str]:
    error = answer.json()["error"]
    assert set(error) <= {"code", "message", "details"}
    return answer.status_code, error["message"]


# --- queueing ---


@pytest.mark.parametrize("path", [PATH, PATH.rstrip("/")])
def test_a_command_is_queued_for_an_agent_never_seen(post: Ask, path: str) -> None:
    answer = post(path, priority="immediate", deliver_at="2030-01-01T12:00:00+02:00")
    assert answer.status_code == 201
    body = answer.json()
    assert set(body) == LIST_FIELDS | {"payload"}
    assert body["payload"] == {"text": "hey 💙"}
    assert (body["agent_id"], body["seq"], body["status"]) == ("edge_1", 1, "scheduled")
    assert (body["priority"], body["delivery"]) == ("immediate", "at_least_once")
    assert (body["deliver_at"], body["created_by"]) == ("2030-01-01T10:00:00Z", "alice")
    assert ScheduledCommand.objects.get().pk == body["command_id"]


def test_null_is_as_good_as_absent(post: Ask) -> None:
    names = ("priority", "deliver_at", "expires_at", "idempotency_key", "delivery")
    answer = post(**dict.fromkeys(names))
    assert answer.status_code == 201
    assert answer.json()["idempotency_key"] == ""


@pytest.mark.parametrize("name", ["expires", "idempotencyKey", "\ud800", "x" * 1000])
def test_a_field_that_does_not_exist_is_refused_with_those_that_do(post: Ask, name: str) -> None:
    status, words = refusal(post(**{name: "2030-01-01T10:00:00Z"}))
    assert status == 400
    assert "unknown field; it takes agent_id, command_type, payload" in words
    assert len(words) < 300
    assert not ScheduledCommand.objects.exists()


def test_the_same_key_gives_the_same_command_and_another_body_409(post: Ask) -> None:
    first = post(idempotency_key="k")
    again = post(idempotency_key="k")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["command_id"] == again.json()["command_id"]
    other = post(idempotency_key="k", payload={})
    assert refusal(other) == (409, "idempotency_key: it was used for another request")
    assert other.json()["error"]["code"] == "CONFLICT"
    assert post(who="bob", idempotency_key="k").status_code == 201  # his own key
    assert ScheduledCommand.objects.count() == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("agent_id", ""),
        ("agent_id", None),
        ("agent_id", 7),
        ("agent_id", "x" * 256),
        ("agent_id", "a\x00b"),
        ("agent_id", "a\u2028b"),
        ("command_type", None),
        ("command_type", "x" * 129),
        ("payload", None),
        ("payload", []),
        ("payload", "text"),
        ("payload", {"a": "\x00"}),
        ("payload", {"a": "\ud800"}),
        ("payload", {"a": 2**60}),
        ("priority", "urgent"),
        ("priority", ["normal"]),
        ("delivery", "exactly_once"),
        ("deliver_at", "2030-01-01T12:00:00"),
        ("deliver_at", "soon"),
        ("deliver_at", 1893456000),
        ("deliver_at", "1970-01-01T00:00:00Z"),
        ("deliver_at", "9999-12-31T23:59:59Z"),
        ("deliver_at", "9999-12-31T23:59:59-14:00"),
        ("expires_at", "2001-01-01T00:00:00Z"),
        ("expires_at", {"at": "2030-01-01T12:00:00Z"}),
        ("idempotency_key", "x" * 256),
        ("idempotency_key", 7),
    ],
)
def test_a_refusal_names_the_field(post: Ask, field: str, value: Any) -> None:
    answer = post(**{field: value})
    status, message = refusal(answer)
    assert status == 400, message
    assert message.startswith(f"{field}: ")
    assert answer.json()["error"]["details"] == {"field": field}
    assert not ScheduledCommand.objects.exists()


def test_it_cannot_expire_before_it_is_delivered(post: Ask) -> None:
    answer = post(deliver_at="2030-01-02T00:00:00Z", expires_at="2030-01-01T00:00:00Z")
    assert refusal(answer)[1].startswith("expires_at: ")


def test_a_payload_over_the_limit_is_413(post: Ask) -> None:
    assert post(payload={"a": "x" * (256 * 1024 - 8)}).status_code == 201
    answer = post(payload={"a": "x" * (256 * 1024 - 7)})
    assert refusal(answer)[0] == 413
    assert answer.json()["error"]["code"] == "TOO_LARGE"
    assert ScheduledCommand.objects.count() == 1


@pytest.mark.parametrize("raw", ["", "[]", "nonsense", '{"payload":NaN}', "[" * 2000, '"x"', "7"])
def test_a_body_of_the_wrong_shape_is_400(post: Ask, raw: str) -> None:
    assert refusal(post(raw=raw))[0] == 400


# --- looking ---


def test_the_list_is_the_newest_first_without_payloads_and_paged(post: Ask, get: Ask) -> None:
    made = [post(agent_id=f"edge_{n}").json()["command_id"] for n in range(3)]
    first = get(f"{PATH}?limit=2").json()
    second = get(first["next"]).json()
    assert set(first["results"][0]) == LIST_FIELDS
    rows = [row["command_id"] for row in first["results"] + second["results"]]
    assert (rows, second["next"]) == (made[::-1], None)


def test_the_list_is_filtered_by_agent_and_status(post: Ask, get: Ask) -> None:
    one, two = post().json()["command_id"], post(agent_id="edge_2").json()["command_id"]
    post(f"{PATH}{two}/cancel/")

    def ids(query: str) -> list[str]:
        return [row["command_id"] for row in get(f"{PATH}{query}").json()["results"]]

    assert ids("?agent_id=edge_1") == [one]
    assert ids("?status=cancelled") == [two]
    assert ids("?agent_id=edge_1&status=cancelled") == []
    assert ids("?agent_id=nobody") == []
    for query, name in [("?status=lost", "status"), ("?agent_id=a%00", "agent_id")]:
        answer = get(f"{PATH}{query}")
        assert refusal(answer)[0] == 400
        assert answer.json()["error"]["details"] == {"field": name}


@pytest.mark.parametrize(
    ("path", "cursor"),
    [(PATH, "x"), (PATH, "cD1h"), (PATH, "cD0lMDA="), ("/api/edge/agents/", "x")],
)
def test_a_cursor_that_is_none_is_refused_by_name(get: Ask, path: str, cursor: str) -> None:
    answer = get(f"{path}?cursor={cursor}")
    assert refusal(answer) == (404, Pages.invalid_cursor_message)
    assert answer.json()["error"]["message"].startswith("cursor: ")


def test_one_command_comes_with_its_events(post: Ask, get: Ask) -> None:
    agent = Agent()
    agent.connect()
    pk = post().json()["command_id"]
    assert agent.take_due() == [pk]
    agent.ack(pk, "completed")
    agent.ack(pk, "failed", error="no such chat")
    body = get(f"{PATH}{pk}").json()
    assert set(body) == LIST_FIELDS | {"payload", "events"}
    assert (body["status"], body["error"], body["attempts"]) == ("failed", "no such chat", 1)
    kinds = [event["kind"] for event in body["events"]]
    assert kinds == ["scheduled", "leased", "delivered", "completed", "failed"]
    assert set(body["events"][0]) == {"kind", "attempt", "actor", "data", "at"}
    assert body["events"][0]["actor"] == "alice"


# --- deciding ---


def test_a_command_is_cancelled_and_put_back(post: Ask, get: Ask) -> None:
    pk = post().json()["command_id"]
    answer = post(f"{PATH}{pk}/retry")
    assert refusal(answer) == (409, "a command that is scheduled cannot be retried")
    assert post(f"{PATH}{pk}/cancel").json()["status"] == "cancelled"
    again = post(f"{PATH}{pk}/cancel/")
    assert refusal(again) == (409, "a command that is cancelled cannot be cancelled")
    ScheduledCommand.objects.update(status="dead")
    assert post(f"{PATH}{pk}/retry/").json()["status"] == "scheduled"


# --- who ---


def test_another_account_sees_and_changes_nothing(post: Ask, get: Ask) -> None:
    pk = post().json()["command_id"]
    assert get(who="carol").json()["results"] == []
    assert get("/api/edge/agents/", "carol").json()["results"] == []
    for answer in (
        get(f"{PATH}{pk}/", "carol"),
        post(f"{PATH}{pk}/cancel/", "carol"),
        post(f"{PATH}{pk}/retry/", "carol"),
    ):
        assert refusal(answer) == (404, f"command not found: {pk}")
    assert ScheduledCommand.objects.get().status == "scheduled"
    theirs = post(who="carol", idempotency_key="k").json()
    assert (theirs["seq"], EdgeAgent.objects.count()) == (1, 2)  # an agent of their own
    assert post(idempotency_key="k").status_code == 201


@pytest.mark.parametrize(("who", "status"), [("viewer", 403), ("nobody", 401)])
def test_who_is_no_operator_neither_looks_nor_acts(
    post: Ask, get: Ask, who: str, status: int
) -> None:
    pk = post().json()["command_id"]
    for answer in (
        get(who=who),
        get(f"{PATH}{pk}/", who),
        get("/api/edge/agents/", who),
        post(who=who),
        post(f"{PATH}{pk}/cancel/", who),
        post(f"{PATH}{pk}/retry/", who),
    ):
        assert refusal(answer)[0] == status
    assert ScheduledCommand.objects.get().status == "scheduled"


@pytest.mark.parametrize("who", ["bob", "boss"])
def test_an_operator_of_the_account_acts_on_anybodys(post: Ask, get: Ask, who: str) -> None:
    pk = post().json()["command_id"]
    assert get(f"{PATH}{pk}/", who).status_code == 200
    assert post(f"{PATH}{pk}/cancel/", who).status_code == 200


@pytest.mark.parametrize("name", ["nothing", "cmd_%00", "x" * 300])
def test_an_unknown_command_is_404(get: Ask, name: str) -> None:
    assert refusal(get(f"{PATH}{name}"))[0] == 404


# --- agents ---


@pytest.mark.parametrize("slash", ["/", ""])
def test_agents_are_listed_with_what_is_known_of_them(post: Ask, get: Ask, slash: str) -> None:
    agent = Agent("edge_2")
    agent.connect()
    post(agent_id="edge_1")
    post(agent_id="edge_1")
    one, two = get(f"/api/edge/agents{slash}").json()["results"]
    assert set(one) == {
        "agent_id",
        "online",
        "queue_depth",
        "last_seen",
        "status",
        "status_at",
        "is_active",
        "created_at",
    }
    assert (one["agent_id"], one["online"], one["queue_depth"]) == ("edge_1", False, 2)
    assert one["last_seen"] is None
    assert (two["agent_id"], two["online"], two["queue_depth"]) == ("edge_2", True, 0)
    assert two["last_seen"] is not None
    for asked, ids in [("true", ["edge_2"]), ("false", ["edge_1"])]:
        rows = get(f"/api/edge/agents/?online={asked}").json()["results"]
        assert [row["agent_id"] for row in rows] == ids
    assert refusal(get("/api/edge/agents/?online=maybe"))[0] == 400


def test_agents_are_paged(post: Ask, get: Ask) -> None:
    for n in range(3):
        post(agent_id=f"edge_{n}")
    first = get("/api/edge/agents/?limit=2").json()
    second = get(first["next"]).json()
    ids = [row["agent_id"] for row in first["results"] + second["results"]]
    assert ids == ["edge_0", "edge_1", "edge_2"]
