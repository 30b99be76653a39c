"""The agent's HTTP fallback: what it says has happened. Source: PROTOCOLS.md 1.7."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from realtime.core.principal import Principal
from sessions_app.models import CommandEvent
from tests.sessions_app.edge import LEASE_S, Agent, Clock, kinds, now, queue
from tests.sessions_app.edge_http.asking import (
    EDGE_1,
    ids,
)


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
