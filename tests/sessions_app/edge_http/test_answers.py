"""The agent's HTTP fallback: acknowledgements, and messages. Source: PROTOCOLS.md 1.7."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from realtime.core import addresses
from realtime.core.principal import Principal
from tests.sessions_app.edge import now, queue
from tests.sessions_app.edge_http.asking import (
    EDGE_1,
    PHONE,
    RELAY,
    SECRET,
    Post,
    refusal,
    token,
)

# --- acknowledgements ---


@pytest.mark.parametrize("path", ["command/ack", "command/ack/", "ack_command"])
def test_both_shapes_of_an_acknowledgement_are_taken(
    post: Post, sync: Any, alice: Principal, path: str
) -> None:
    command = queue(alice, EDGE_1)
    sync()
    # As the documented client has it: whose it is stands in the token alone.
    body = {"command_id": command.pk, "success": True, "error": None, "timestamp": "2025-11-15"}
    assert post(path, body, token()).json() == {"recorded": True}
    assert post(path, body, token()).json() == {"recorded": False}
    assert now(command).status == "completed"
    second = {"data": {"command_id": command.pk, "status": "failed", "error": "no such chat"}}
    assert post(path, second, token()).json() == {"recorded": True}
    assert (now(command).status, now(command).error) == ("failed", "no such chat")


def test_the_words_of_an_answer_are_kept_up_to_a_length(
    post: Post, sync: Any, alice: Principal
) -> None:
    command = queue(alice, EDGE_1)
    sync()
    body = {"command_id": command.pk, "status": "completed", "completed_at": "2" * 100_000}
    assert post("command/ack", body, token()).json() == {"recorded": True}
    body |= {"status": "failed", "error": "\U0001f499" * 100_000}
    assert post("command/ack", body, token()).json() == {"recorded": True}
    assert now(command).error == "\U0001f499" * 4000
    first, second = command.events.filter(kind__in=["completed", "failed"]).order_by("pk")
    assert first.data == {"completed_at": "2" * 64}
    assert len(second.data["error"]) == 4000


def test_another_agents_command_is_not_acknowledged(
    post: Post, sync: Any, alice: Principal
) -> None:
    command = queue(alice, EDGE_1)
    sync()
    body = {"command_id": command.pk, "status": "completed"}
    with capture_logs() as lines:
        assert post("command/ack", body, token("edge_2")).json() == {"recorded": False}
    assert [line["event"] for line in lines] == ["command.ack_ignored"]
    assert now(command).status == "delivered"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"status": "completed"}, "command_id"),
        ({"command_id": "c", "status": "done"}, "status: 'done'"),
        ({"command_id": "c"}, "status: ''"),
        ({"command_id": 7, "status": "completed"}, "command_id"),
        ({"command_id": "\x00", "status": "completed"}, "U+0000"),
        ({"command_id": "\ud800", "status": "completed"}, "JSON"),
    ],
)
def test_a_bad_acknowledgement_is_400(post: Post, body: Any, words: str) -> None:
    status, message = refusal(post("command/ack", body, token()))
    assert status == 400 and words in message


# --- messages ---


def test_a_message_is_passed_on_and_not_answered(post: Post, told: Any) -> None:
    body = {"thread_id": "t", "sender": PHONE, "filtered_text": "hey 💙"}
    assert post("message", body, token()).json() == {"should_respond": False}
    ((targets, event),) = told("edge.message")
    assert targets == [addresses.topic("nexus:default", f"agent.{EDGE_1}.messages")]
    assert event.data == {"agent_id": EDGE_1, "message": body, "at": event.data["at"]}


def test_a_message_with_the_raw_secret_and_no_id_is_passed_on_too(post: Post, told: Any) -> None:
    """As clients in the field send it: whose it is stands nowhere."""
    body = {"thread_id": "t", "sender": PHONE, "filtered_text": "hey 💙"}
    for bearer in (SECRET, RELAY):
        assert post("message", body, bearer).json() == {"should_respond": False}
    for targets, event in told("edge.message"):
        assert targets == [addresses.topic("nexus:default", "agent.unknown.messages")]
        assert event.data == {"agent_id": "unknown", "message": body, "at": event.data["at"]}
    for bearer in (None, "wrong", "gwe_wrong"):
        assert post("message", body, bearer).status_code == 401
    for path in ("register", "sync", "command/ack", "ack_command"):
        assert post(path, {"command_id": "c", "status": "completed"}).status_code == 401
    assert len(told("edge.message")) == 2


def test_a_message_too_large_or_odd_is_refused(post: Post, told: Any) -> None:
    assert refusal(post("message", {"filtered_text": "x" * 70_000}, token()))[0] == 413
    assert refusal(post("message", {"filtered_text": "\x00"}, token()))[0] == 400
    assert told("edge.message") == []
