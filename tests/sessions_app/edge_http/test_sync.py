"""The agent's HTTP fallback: what a sync hands over and hears. Source: PROTOCOLS.md 1.7."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import EdgeAgent
from realtime.core.principal import Principal
from sessions_app.services import commands
from tests.sessions_app.edge import LEASE_S, Agent, Clock, kinds, now, queue
from tests.sessions_app.edge_http.asking import (
    EDGE_1,
    ids,
)


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
