"""Messages of 003 by REST. Source: CONTRACT (HTTP), PROTOCOLS.md 4.3, 4.4."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from realtime.core import addresses
from realtime.models import Announcement

Post = Callable[..., Any]


@pytest.fixture
def post(client: Client, bearer: Any) -> Post:
    """`post(path, who, **body)`; alice is an operator, val a viewer, carol another account's."""
    headers: dict[str, dict[str, str]] = {
        "alice": bearer("alice", "operator"),
        "boss": bearer("boss", "admin"),
        "val": bearer("val", "viewer"),
        "carol": bearer("carol", "admin", "other"),
    }

    def go(path: str, who: str = "alice", raw: str | None = None, **body: Any) -> Any:
        text = json.dumps(body) if raw is None else raw
        return client.post(
            path, data=text, content_type="application/json", headers=headers.get(who, {})
        )

    return go


def told() -> list[tuple[list[Any], dict[str, Any]]]:
    said = [fact for row in Announcement.objects.order_by("id") for fact in row.said]
    return [
        (list(targets), event.data["message"])
        for targets, some in said
        for event in some
        if event.name == "aether.message"
    ]


@pytest.mark.parametrize("end", ["/", ""])
def test_a_message_goes_to_a_group_of_the_callers_account(post: Post, end: str) -> None:
    for who, account in (("alice", "default"), ("boss", "default"), ("carol", "other")):
        answer = post(f"/api/groups/team/messages{end}", who, msg="hi", payload={"a": 1})
        assert answer.status_code == 202
        targets, message = told()[-1]
        assert targets == [addresses.group(f"aether:{account}", "team")]
        assert answer.json() == message
        assert (message["msg_type"], message["target"], message["msg"]) == ("msg", "group", "hi")
        assert (message["from_id"], message["group_id"], message["to_id"]) == (
            "server",
            "team",
            None,
        )


def test_a_message_goes_to_one_client(post: Post) -> None:
    answer = post("/api/clients/a:b/messages/", msg_type="cmd", cmd="STOP")
    assert answer.status_code == 202
    ((targets, message),) = told()
    assert targets == [addresses.client("aether:default", "a:b")]
    assert (message["target"], message["to_id"], message["group_id"]) == ("direct", "a:b", None)
    assert (message["msg_type"], message["cmd"]) == ("cmd", "STOP")


def test_no_field_of_the_body_changes_who_says_it_or_to_whom(post: Post) -> None:
    spoofed = {
        "version": "9",
        "target": "broadcast",
        "from_id": "root",
        "group_id": "other",
        "account": "other",
        "x_account_id": "other",
        "sent_at": "2001-01-01T00:00:00Z",
    }
    assert post("/api/groups/team/messages/", **spoofed).status_code == 202
    assert post("/api/clients/c/messages/", **spoofed, to_id="root").status_code == 202
    (group, first), (client, second) = told()
    assert group == [addresses.group("aether:default", "team")]
    assert client == [addresses.client("aether:default", "c")]
    for message in (first, second):
        assert (message["version"], message["from_id"]) == ("3", "server")
        assert not message["sent_at"].startswith("2001")


@pytest.mark.parametrize("kind", ["groups", "clients"])
@pytest.mark.parametrize(
    ("encoded", "status"),
    [
        ("team%20%C3%BC", 202),
        ("a%2Fb", 202),
        ("messages", 202),
        ("50%25", 202),
        ("%E2%98%83" * 128, 202),
        ("x" * 129, 404),
        ("a%0Ab", 404),
        ("%00", 404),
    ],
)
def test_ids_are_those_of_the_socket(post: Post, kind: str, encoded: str, status: int) -> None:
    answer = post(f"/api/{kind}/{encoded}/messages/", msg="hi")
    assert answer.status_code == status, answer.content
    assert len(told()) == (status == 202)


@pytest.mark.parametrize("path", ["/api/groups/g/messages/", "/api/clients/c/messages/"])
@pytest.mark.parametrize(("who", "status"), [("val", 403), ("nobody", 401)])
def test_viewers_and_strangers_say_nothing(post: Post, path: str, who: str, status: int) -> None:
    assert post(path, who, msg="hi").status_code == status
    assert told() == []


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ("[]", 400),
        ("7", 400),
        ("nonsense", 400),
        ('{"msg":7}', 400),
        ('{"msg_type":"shout"}', 400),
        ('{"payload":"text"}', 400),
        ('{"payload":[1]}', 400),
        ('{"msg":"\\u0000"}', 400),
        ('{"payload":' + '{"a":' * 40 + "1" + "}" * 40 + "}", 400),
        (json.dumps({"msg": "x" * 65_537}), 413),
    ],
)
def test_what_no_client_could_read_is_refused(post: Post, raw: str, status: int) -> None:
    for path in ("/api/groups/g/messages/", "/api/clients/c/messages/"):
        answer = post(path, raw=raw)
        assert answer.status_code == status, answer.content
        assert answer.json()["error"]["message"]
    assert told() == []
