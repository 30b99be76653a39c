"""The agent's HTTP fallback. Source: PROTOCOLS.md 1.7."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from structlog.testing import capture_logs

from accounts.models import EdgeAgent
from accounts.services import agents as door
from realtime.core import addresses
from realtime.core.principal import Principal
from sessions_app.models import CommandEvent
from sessions_app.services import commands
from tests.sessions_app.edge import LEASE_S, Agent, Clock, kinds, now, queue

SECRET, RELAY = "edge-secret-for-tests", "relay-secret-for-tests"
PHONE = "+13238407486"
EDGE_1 = "edge_13238407486"


@pytest.fixture(autouse=True)
def settled(settings: Any, monkeypatch: pytest.MonkeyPatch, accounts: None) -> None:
    settings.EDGE_SECRET, settings.RELAY_WEBHOOK_SECRET = SECRET, RELAY
    monkeypatch.setattr(door, "_failures", door.Failures(10))


def token(agent_id: str = EDGE_1, secret: str = RELAY) -> str:
    text = f"{agent_id}:{PHONE}:{int(time.time())}"
    signature = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return base64.b64encode(f"{text}:{signature}".encode()).decode()


Post = Callable[..., Any]


@pytest.fixture
def post() -> Post:
    """`post(path, body, bearer=…)` as EDGE_1; CSRF is checked as for a browser."""

    def go(path: str, body: Any, bearer: str | None = SECRET, **headers: str) -> Any:
        shown = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        return Client(enforce_csrf_checks=True).post(
            f"/edge/{path}",
            data=body if isinstance(body, str) else json.dumps(body),
            content_type="application/json",
            headers={**shown, **headers},
        )

    return go


@pytest.fixture
def sync(post: Post) -> Callable[..., Any]:
    """The answer to a sync, as the documented client asks."""

    def go(bearer: str = SECRET, agent_id: str = EDGE_1, **fields: Any) -> Any:
        body = {
            "edge_agent_id": agent_id,
            "last_command_id": None,
            "pending_events": [],
            "status": {"scheduled_messages": 3, "active_rules": 0, "uptime_seconds": 3600},
        }
        answer = post("sync", body | fields, bearer, **{"X-Edge-Protocol-Version": "1.0"})
        assert answer.status_code == 200, answer.content
        return answer.json()

    return go


def ids(synced: Any) -> list[str]:
    return [command["command_id"] for command in synced["commands"]]


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["message"]


# --- the door ---


@pytest.mark.parametrize("bearer", [SECRET, RELAY, token(), token(secret=SECRET)])
@pytest.mark.parametrize("slash", ["", "/"])
def test_every_bearer_of_the_http_side_is_heard(post: Post, bearer: str, slash: str) -> None:
    assert post(f"sync{slash}", {"edge_agent_id": EDGE_1}, bearer).status_code == 200


PATHS = ["register", "sync", "command/ack", "ack_command", "message"]


@pytest.mark.parametrize("path", PATHS)
def test_no_bearer_a_wrong_one_and_another_agents_are_401(post: Post, path: str) -> None:
    body = {"edge_agent_id": EDGE_1, "command_id": "c", "status": "completed"}
    with capture_logs() as lines:
        answer = post(path, body, None)
        assert refusal(answer) == (401, "Missing or invalid Authorization header")
        assert answer["WWW-Authenticate"].startswith("Bearer")
        for bearer in ("wrong", token("edge_2"), "gwe_wrong"):
            assert refusal(post(path, body, bearer)) == (401, door.REFUSED)
        basic = post(path, body, None, Authorization=f"Basic {SECRET}")
        assert basic.status_code == 401
        torn = post(path, body, **{"X-Edge-Agent-Id": "edge_2"})
        assert refusal(torn) == (401, "X-Edge-Agent-Id differs from edge_agent_id")
    said = [line["event"] for line in lines]
    assert "Edge request rejected: missing auth header" in said
    assert f"Token verification failed for edge_agent_id={EDGE_1}" in said
    assert not EdgeAgent.objects.exists()


@pytest.mark.parametrize("path", PATHS)
def test_only_post_is_answered_and_in_json(path: str) -> None:
    answer = Client().get(f"/edge/{path}", headers={"authorization": f"Bearer {token()}"})
    assert refusal(answer)[0] == 405


def test_failures_are_counted_with_the_sockets(post: Post) -> None:
    body = {"edge_agent_id": EDGE_1}
    assert [post("sync", body, "wrong").status_code for _ in range(10)] == [401] * 10
    answer = post("sync", body)
    assert answer.status_code == 429 and 1 <= int(answer["Retry-After"]) <= 7
    assert post("sync", {"edge_agent_id": "edge_2"}).status_code == 200


@pytest.mark.parametrize("body", ["[]", "nonsense", '"x"', '{"edge_agent_id": 7}', "[" * 5000])
def test_a_body_of_the_wrong_shape_is_400(post: Post, body: str) -> None:
    assert refusal(post("sync", body))[0] == 400


# --- register ---


def test_a_client_registers_by_its_phone(post: Post) -> None:
    body = {"user_phone": "+1 (323) 840-7486", "apple_id": None, "version": "2.0.0"}
    for bearer, shown in [
        (SECRET, {}),
        (None, {"auth_token": SECRET}),
        (None, {"registration_token": SECRET}),
        (token(), {}),
    ]:
        answer = post("register", body | shown, bearer)
        assert answer.json() == {"edge_agent_id": EDGE_1, "status": "registered"}
    agent = EdgeAgent.objects.get()
    assert agent.agent_id == EDGE_1 and agent.last_seen_at is not None
    assert post("register", body | {"auth_token": "wrong"}, None).status_code == 401
    assert post("sync", {"edge_agent_id": EDGE_1, "auth_token": SECRET}, None).status_code == 401


# --- sync ---


def test_the_queue_is_handed_over_once_and_in_order(sync: Any, alice: Principal) -> None:
    made = [queue(alice, EDGE_1, payload={"n": n, "text": "💙"}) for n in range(3)]
    first = sync()
    assert ids(first) == [command.pk for command in made]
    assert set(first["commands"][0]) == {
        "command_id",
        "command_type",
        "priority",
        "timestamp",
        "payload",
    }
    assert first["commands"][0]["payload"] == {"n": 0, "text": "💙", "priority": "normal"}
    assert first["commands"][0]["timestamp"].endswith("Z")
    assert first["ack_events"] == []
    assert ids(sync()) == []
    assert {now(command).status for command in made} == {"delivered"}


def test_nothing_is_given_while_a_socket_holds_the_agent(sync: Any, alice: Principal) -> None:
    agent = Agent(EDGE_1)
    agent.connect()
    command = queue(alice, EDGE_1)
    assert ids(sync()) == []
    assert agent.take_due() == [command.pk]
    agent.disconnect()
    assert ids(sync()) == [], "it was written to the socket a moment ago"
    later = queue(alice, EDGE_1, payload={"thread_id": "another"})
    assert ids(sync()) == [later.pk]


def test_another_agents_and_another_accounts_commands_are_not_given(
    sync: Any, alice: Principal, other_alice: Principal
) -> None:
    queue(alice, "edge_2")
    queue(other_alice, EDGE_1)
    assert ids(sync()) == []


def test_the_status_is_kept_and_an_odd_one_stops_nothing(sync: Any, alice: Principal) -> None:
    command = queue(alice, EDGE_1)
    sync(status={"scheduled_messages": 3})
    assert EdgeAgent.objects.get().status == {"scheduled_messages": 3}
    again = queue(alice, EDGE_1, payload={"thread_id": "another"})
    for odd in ({"a": "\x00"}, {"a": "\ud800"}, {"a": "x" * 20_000}, {"a": 2**80}, [], "up", None):
        sync(status=odd)
    assert EdgeAgent.objects.get().status == {"scheduled_messages": 3}
    assert [now(command).status, now(again).status] == ["delivered"] * 2


def test_what_the_agent_says_it_acted_on_last_is_received_with_what_stood_before_it(
    sync: Any, alice: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its acknowledgements got lost: without this, the same text goes to somebody once more."""
    clock = Clock(monkeypatch)
    first, last, after = [queue(alice, EDGE_1) for _ in range(3)]
    assert ids(sync()) == [first.pk, last.pk, after.pk]
    later = queue(alice, EDGE_1, payload={"thread_id": "another"})
    assert ids(sync(last_command_id=last.pk)) == [later.pk]
    stand = [now(one).status for one in (first, last, after, later)]
    assert stand == ["received", "received", "delivered", "delivered"]
    assert kinds(last)[3:] == ["received"]
    clock.step(LEASE_S + 1)
    assert ids(sync(last_command_id=last.pk)) == [after.pk, later.pk]
    assert kinds(last)[3:] == ["received"]


def test_acted_on_last_says_nothing_of_what_went_over_a_socket_or_was_put_back(
    sync: Any, alice: Principal
) -> None:
    agent = Agent(EDGE_1)
    agent.connect()
    first, last = [queue(alice, EDGE_1) for _ in range(2)]
    assert agent.take_due() == [first.pk, last.pk]
    agent.disconnect()
    sync(last_command_id=last.pk)
    assert [now(one).status for one in (first, last)] == ["delivered", "received"]
    agent.ack(last, "failed")
    commands.retry(principal=alice, command_id=last.pk)
    first.delete()
    assert ids(sync(last_command_id=last.pk)) == [last.pk]
    sync(last_command_id=last.pk)
    assert now(last).status == "delivered"


def test_acted_on_last_reaches_no_other_agents_and_no_other_accounts_commands(
    sync: Any, alice: Principal, other_alice: Principal
) -> None:
    theirs = [queue(alice, "edge_2"), queue(other_alice, EDGE_1)]
    for agent in (Agent("edge_2"), Agent(EDGE_1, "other")):
        agent.connect()
        agent.take_due()
    mine = queue(alice, EDGE_1)
    sync()
    for odd in (*[one.pk for one in theirs], "msg_none", "\x00", "", 7, [], {}, None):
        sync(last_command_id=odd)
    assert {now(one).status for one in (*theirs, mine)} == {"delivered"}


# --- events ---


def sent(event_id: Any, **details: Any) -> dict[str, Any]:
    return {"event_id": event_id, "event_type": "message_sent", "details": details}


def test_events_are_recorded_with_their_command_once(sync: Any, alice: Principal) -> None:
    command = queue(alice, EDGE_1)
    sync()
    events = [
        sent("e1", command_id=command.pk, thread_id="t"),
        sent("e2", command_id=command.pk),
        {"event_id": "e3", "event_type": "brand_new", "command_id": command.pk, "details": None},
    ]
    for _ in range(2):  # an answer that got lost
        assert sync(pending_events=events)["ack_events"] == ["e1", "e2", "e3"]
    assert kinds(command)[3:] == ["agent.message_sent", "agent.message_sent", "agent.event"]
    first = CommandEvent.objects.filter(kind="agent.message_sent").first()
    assert first is not None and first.actor == EDGE_1
    assert first.data == {
        "event_id": "e1",
        "type": "message_sent",
        "details": {"command_id": command.pk, "thread_id": "t"},
    }
    assert now(command).status == "delivered", "an event is no acknowledgement"


def test_what_names_no_command_of_this_agents_is_acknowledged_and_logged(
    sync: Any, alice: Principal, other_alice: Principal
) -> None:
    neighbours, namesakes = queue(alice, "edge_2"), queue(other_alice, EDGE_1)
    for agent in (Agent("edge_2"), Agent(EDGE_1, "other")):
        agent.connect()
        assert len(agent.take_due()) == 1
    waiting = queue(alice, EDGE_1, deliver_at="2999-01-01T00:00:00Z")  # nobody can know it yet
    events = [
        sent("e1", command_id=neighbours.pk),
        sent("e2", command_id=namesakes.pk),
        sent("e3", command_id=waiting.pk),
        sent("e4", message_text="private words"),
    ]
    with capture_logs() as lines:
        synced = sync(pending_events=events)
    assert synced["ack_events"] == ["e1", "e2", "e3", "e4"]
    assert [line["recorded"] for line in lines if line["event"] == "edge.event"] == [False] * 4
    assert "private words" not in str(lines)
    assert not CommandEvent.objects.filter(kind__startswith="agent.").exists()


def test_an_odd_event_stops_neither_the_others_nor_the_queue(sync: Any, alice: Principal) -> None:
    first = queue(alice, EDGE_1)
    sync()
    second = queue(alice, EDGE_1, payload={"thread_id": "another"})
    odd = [
        None,
        "e0",
        {},
        {"event_id": ["e0"]},
        {"event_id": True},
        sent("e1", command_id=first.pk, text="\x00"),
        sent("e2", command_id=first.pk, text="\ud800"),
        sent("e3", command_id="\x00"),
        {"event_id": "e4", "event_type": {}, "details": "x"},
        sent(5, command_id=first.pk, text="x" * 20_000),
    ]
    synced = sync(pending_events=odd)
    assert synced["ack_events"] == ["e1", "e2", "e3", "e4", 5]
    assert ids(synced) == [second.pk]
    (event,) = CommandEvent.objects.filter(kind__startswith="agent.")
    assert event.data == {"event_id": "5", "type": "message_sent"}, "too long to be kept"
    assert sync(pending_events={"a": 1})["ack_events"] == []


def test_one_command_keeps_so_many_events_and_no_more(sync: Any, alice: Principal) -> None:
    command = queue(alice, EDGE_1)
    sync()
    events = [sent(f"e{n}", command_id=command.pk) for n in range(60)]
    assert len(sync(pending_events=events)["ack_events"]) == 60
    assert kinds(command).count("agent.message_sent") == 50


@pytest.mark.parametrize("over_socket", [False, True])
def test_what_an_agent_without_a_socket_never_answers_is_dead_at_last(
    sync: Any, alice: Principal, monkeypatch: pytest.MonkeyPatch, over_socket: bool
) -> None:
    clock = Clock(monkeypatch)
    once = queue(alice, EDGE_1, delivery="at_most_once")
    agent = Agent(EDGE_1)
    if over_socket:  # the first time; from then on it has none
        agent.connect()
        assert agent.take_due() == [once.pk]
        agent.disconnect()
    else:
        assert ids(sync()) == [once.pk]
    again = queue(alice, EDGE_1, payload={"thread_id": "another"})
    for attempt in range(1, 6):
        assert ids(sync()) == [again.pk], attempt
        clock.step(LEASE_S * 2 ** (attempt - 1) - 10)
        assert ids(sync()) == []
        assert now(again).status == "delivered"
        clock.step(12)
    assert ids(sync()) == []
    assert (now(once).status, now(again).status) == ("dead", "dead")
    assert now(again).attempts == 5


def test_what_was_written_to_a_socket_that_stands_is_not_given_up(
    sync: Any, alice: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    once = queue(alice, EDGE_1, delivery="at_most_once")
    agent = Agent(EDGE_1)
    agent.connect()
    assert agent.take_due() == [once.pk]
    clock.step(LEASE_S * 17)
    assert ids(sync()) == []
    assert now(once).status == "delivered"


def test_of_very_many_events_the_rest_comes_next_time(sync: Any) -> None:
    events = [sent(f"e{n}") for n in range(250)]
    assert sync(pending_events=events)["ack_events"] == [f"e{n}" for n in range(200)]


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
