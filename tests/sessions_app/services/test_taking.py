"""What a connection takes and writes, in which order, and what is written again."""

from __future__ import annotations

import datetime as dt

import pytest

from accounts.models import EdgeAgent
from realtime.core import addresses
from sessions_app.models import CommandEvent, Presence, ScheduledCommand
from sessions_app.services import claims, clock, commands, delivery, nodes, taking
from tests.sessions_app.edge import LEASE_S, Agent, kinds, now, queue


def in_(seconds):
    return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)


# --- take ---


def test_a_frame_is_the_protocols_own(alice, agent):
    payload = {"thread_id": "iMessage;-;+15551234567", "message_text": "hey 💙"}
    command = queue(alice, command_type="schedule_message", payload=payload, priority="immediate")
    claims.claim(dispatcher="d1")
    given = delivery.take(principal=agent.principal, connection=agent.connection)
    body = {
        "command_id": command.pk,
        "command_type": "schedule_message",
        "priority": "immediate",
        "timestamp": given["commands"][0]["data"]["timestamp"],
        "payload": {**payload, "priority": "immediate"},
    }
    assert given == {
        "commands": [{"type": "command", "data": body, "payload": body}],
        "more": False,
    }
    assert body["timestamp"].endswith("Z")
    assert dt.datetime.fromisoformat(body["timestamp"]).tzinfo


def test_a_payloads_own_meaning_of_priority_is_left_alone(alice, agent):
    queue(alice, payload={"priority": 7})
    claims.claim(dispatcher="d1")
    given = delivery.take(principal=agent.principal, connection=agent.connection)
    body = given["commands"][0]["data"]
    assert (body["priority"], body["payload"]["priority"]) == ("normal", 7)


def test_what_is_taken_is_marked_before_it_is_written(alice, agent, told):
    command = queue(alice)
    assert agent.take_due() == [command.pk]
    row = now(command)
    assert (row.status, row.attempts, row.written_to) == ("delivered", 1, agent.connection)
    assert row.lease_until is None
    event = CommandEvent.objects.get(kind="delivered")
    assert (event.attempt, event.data) == (1, {"connection": agent.connection})
    assert told("command.updated")[-1][1].data["status"] == "delivered"
    assert agent.take() == []


def test_only_what_was_leased_is_taken_and_only_by_its_agent(alice, agent, busy):
    other, foreign = Agent("edge_2"), Agent("edge_1", account="other")
    other.connect(), foreign.connect()
    command = queue(alice)
    assert agent.take() == []
    claims.claim(dispatcher="d1")
    assert other.take() == other.take(agent.connection) == []
    assert foreign.take() == foreign.take(agent.connection) == []
    assert agent.take() == [command.pk]


def test_an_older_connection_gets_nothing_any_more(alice, agent):
    old = agent.connection
    new = agent.connect()
    command = queue(alice)
    claims.claim(dispatcher="d1")
    assert agent.take(old) == []
    assert agent.take(new) == [command.pk]


def test_a_connection_that_is_replaced_while_it_asks_gets_nothing(alice, agent, monkeypatch):
    old, command = agent.connection, queue(alice)
    look = taking._waiting

    def overtaken(principal, connection):
        found = look(principal, connection)
        agent.connect()
        return found

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(taking, "_waiting", overtaken)
        assert agent.take(old, called=False) == []
    assert agent.take() == [command.pk]


def test_who_was_not_called_looks_and_leases_what_is_due_by_now(alice, agent, busy):
    assert agent.take(called=False) == []
    due = [queue(alice).pk for _ in range(3)]
    later = queue(alice, deliver_at=in_(60))
    assert agent.take() == []
    assert agent.take(called=False) == due
    assert CommandEvent.objects.filter(kind="leased", actor=agent.connection).count() == 3
    old = agent.connection
    agent.connect()
    another = queue(alice)
    assert agent.take(old, called=False) == []
    assert (now(another).status, now(later).status) == ("scheduled", "scheduled")


def test_a_quick_agent_waits_for_no_dispatcher(alice, agent, busy):
    made = [queue(alice).pk for _ in range(40)]
    came = agent.take(called=False)
    assert came == made[:32]
    while came != made:
        agent.ack(came[-1], "completed")
        more = agent.take(called=False)
        assert more
        came += more


def test_what_an_idle_agent_is_to_get_is_leased_to_its_socket_at_once(alice, agent, told):
    command = queue(alice)
    row = now(command)
    assert (row.status, row.lease_owner, row.leases) == ("leased", agent.connection, 1)
    assert kinds(command) == ["scheduled", "leased"]
    said = [(event.name, event.data.get("status")) for _, event in told()][-3:]
    assert said == [
        ("command.updated", "scheduled"), ("command.updated", "leased"), ("edge.due", None)
    ]  # fmt: skip
    assert told("edge.due")[-1][0] == [addresses.agent("default", "edge_1")]
    assert agent.take() == [command.pk]
    assert now(queue(alice)).status == "scheduled"  # not before that is answered
    agent.ack(command, "completed")


def test_the_answer_says_that_a_command_is_scheduled_whatever_comes_of_it(alice, agent):
    assert queue(alice).status == "scheduled"


@pytest.mark.parametrize("why", ["later", "away", "inactive", "dead node"])
def test_what_cannot_be_written_at_once_is_left_to_the_dispatchers(alice, agent, why):
    if why == "away":
        agent.disconnect()
    if why == "inactive":
        EdgeAgent.objects.update(is_active=False)
    if why == "dead node":
        nodes.renew(node="node-1", host="here", pid=1, lease_s=-1)
    command = queue(alice, deliver_at=in_(60) if why == "later" else None)
    assert now(command).status == "scheduled"


def test_what_is_meant_for_later_keeps_no_agent_from_being_idle(alice, agent):
    queue(alice, deliver_at=in_(60))
    assert now(queue(alice)).status == "leased"


def test_what_dispatchers_leased_beyond_the_window_waits(alice, agent):
    made = [queue(alice).pk for _ in range(35)]
    until = in_(LEASE_S)
    ScheduledCommand.objects.update(status="leased", lease_until=until)
    assert agent.take() == made[:32]
    assert agent.take() == []
    agent.ack(made[0], "completed")
    assert agent.take() == made[32:33]


def test_a_lease_is_taken_by_whatever_connection_holds_the_agent_then(alice, agent):
    command = queue(alice)
    claims.claim(dispatcher="d1")
    agent.disconnect()
    agent.connect(node="node-2")
    assert agent.take() == [command.pk]


def test_commands_come_in_the_order_of_their_time_then_of_their_number(alice, agent, time):
    at = in_(60)
    names = [queue(alice, deliver_at=at).pk for _ in range(3)]
    first = queue(alice, deliver_at=in_(30)).pk
    time.step(61)
    assert agent.take_due() == [first, *names]


def test_no_more_than_the_window_is_under_way(alice, agent, time):
    made = [queue(alice).pk for _ in range(35)]
    assert agent.take_due() == made[:32]
    assert agent.take_due() == []
    agent.ack(made[0], "received")
    agent.ack(made[1], "completed")
    assert agent.take_due() == made[32:34]
    # An agent that never acknowledges is slowed down, not cut off.
    time.step(LEASE_S + 1)
    assert agent.take_due() == made[34:]


def test_a_socket_with_nothing_under_way_gets_a_few_and_then_all_the_rest(alice, agent, busy):
    made = [queue(alice).pk for _ in range(10)]
    claims.claim(dispatcher="d1")

    def take():
        given = delivery.take(principal=agent.principal, connection=agent.connection)
        return [frame["data"]["command_id"] for frame in given["commands"]], given["more"]

    assert take() == (made[:4], True)
    assert take() == (made[4:], False)


def test_large_payloads_are_under_way_one_at_a_time(alice, agent):
    large = [queue(alice, payload={"a": "x" * 200_000}).pk for _ in range(2)]
    small = queue(alice).pk
    assert agent.take_due() == large[:1]
    agent.ack(large[0], "received")
    assert agent.take() == [large[1], small]


def test_nothing_is_written_after_it_expired_or_was_cancelled(alice, agent, time):
    expired, cancelled, good = queue(alice, expires_at=in_(10)), queue(alice), queue(alice)
    claims.claim(dispatcher="d1")
    commands.cancel(principal=alice, command_id=cancelled.pk)
    time.step(11)
    assert agent.take() == [good.pk]
    assert claims.expire() == 1
    assert (now(expired).status, now(expired).error) == (
        "expired", "expired before it could be delivered"
    )  # fmt: skip


def test_what_is_due_and_not_leased_yet_holds_back_what_comes_after_it(alice, agent):
    """Two dispatchers: one has locked the first rows and not committed yet."""
    first, second = queue(alice), queue(alice)
    claims.claim(dispatcher="d2")
    ScheduledCommand.objects.filter(pk=first.pk).update(status="scheduled")
    assert agent.take() == []
    claims.claim(dispatcher="d1")
    assert agent.take() == [first.pk, second.pk]


# --- written again ---


def test_what_was_not_acknowledged_is_written_again_on_a_new_connection_after_the_grace(
    alice, agent, time
):
    command = queue(alice)
    agent.take_due()
    time.step(LEASE_S + 1)
    assert agent.take_due() == []  # the same connection: it has it
    agent.connect()
    assert agent.take() == [command.pk]
    assert now(command).attempts == 2
    agent.connect()
    time.step(LEASE_S + 1)
    assert agent.take() == []  # the second write is waited for twice as long
    time.step(LEASE_S)
    assert agent.take() == [command.pk]


@pytest.mark.parametrize("status", ["received", "executing", "completed", "failed"])
def test_nothing_is_written_again_after_any_answer(alice, agent, time, status):
    command = queue(alice)
    agent.take_due()
    agent.ack(command, status)
    agent.connect()
    time.step(10 * LEASE_S)
    assert agent.take_due() == claims.overdue() == []


def test_at_most_once_is_never_written_again_and_is_given_up(alice, agent, time):
    command = queue(alice, delivery="at_most_once")
    agent.take_due()
    time.step(LEASE_S + 1)
    assert claims.bury() == 0  # its connection may still answer
    agent.disconnect()
    assert claims.bury() == 0
    agent.connect()
    assert agent.take_due() == []
    assert claims.bury() == 1
    assert (now(command).status, now(command).error) == ("dead", "written and never acknowledged")


def test_who_has_just_come_again_may_still_answer_before_it_is_given_up(alice, agent, time):
    command = queue(alice, delivery="at_most_once")
    agent.take_due()
    agent.disconnect()
    time.step(LEASE_S + 1)
    since = clock.now()
    agent.connect()
    Presence.objects.filter(pk=agent.connection).update(since=since)
    time.step(LEASE_S - 10)
    assert claims.bury() == 0
    time.step(12)
    assert claims.bury() == 1
    assert now(command).status == "dead"


def test_after_five_writes_without_an_answer_a_command_is_dead_and_can_be_revived(
    alice, agent, time
):
    command = queue(alice)
    for attempt in range(1, 6):
        assert agent.take_due() == [command.pk]
        time.step(LEASE_S * 2 ** (attempt - 1) - 10)
        agent.connect()
        assert agent.take() == []
        assert claims.bury() == 0
        time.step(12)
    assert agent.take_due() == []
    assert claims.bury() == 1
    assert now(command).status == "dead"
    assert agent.ack(command, "completed")
    assert now(command).status == "dead"
    commands.retry(principal=alice, command_id=command.pk)
    assert agent.take_due() == [command.pk]
    assert now(command).attempts == 6


def test_a_thread_keeps_its_order_while_something_may_come_once_more(alice, agent, time):
    lost = queue(alice, payload={"thread_id": "t1"})
    agent.take_due()
    agent.connect()
    same = queue(alice, payload={"thread_id": "t1"})
    other = queue(alice, payload={"thread_id": "t2"})
    assert agent.take_due() == [other.pk]
    time.step(LEASE_S - 10)
    assert agent.take_due() == []
    time.step(12)
    assert agent.take_due() == [lost.pk, same.pk]


def test_a_thread_waits_for_one_lease_and_no_longer(alice, agent, time):
    lost = queue(alice)
    agent.take_due()
    time.step(LEASE_S + 1)
    agent.connect()
    assert agent.take_due() == [lost.pk]
    agent.connect()
    same = queue(alice)
    assert agent.take_due() == []
    time.step(LEASE_S + 1)
    claims.return_lapsed()
    assert agent.take_due() == [same.pk]
    time.step(LEASE_S)
    assert agent.take_due() == [lost.pk]
