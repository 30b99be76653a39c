"""What an agent fetches over HTTP, and what its answers change."""

from __future__ import annotations

import datetime as dt

import pytest

from realtime.core.errors import InvalidParams
from sessions_app.models import CommandEvent
from sessions_app.services import claims, delivery
from tests.sessions_app.edge import LEASE_S, Agent, kinds, now, queue


def in_(seconds):
    return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)


# --- the agent that asks over HTTP ---


def fetch(agent):
    given = delivery.fetch(principal=agent.principal)
    return [frame["data"]["command_id"] for frame in given["commands"]]


def test_an_agent_without_a_socket_fetches_what_is_due(alice, accounts, time):
    agent = Agent()
    command, later = queue(alice), queue(alice, deliver_at=in_(1000))
    assert fetch(agent) == [command.pk]
    assert kinds(command) == ["scheduled", "leased", "delivered"]
    assert fetch(agent) == []
    time.step(LEASE_S + 1)
    assert fetch(agent) == [command.pk]
    agent.ack(command, "completed")
    time.step(100 * LEASE_S)
    assert fetch(agent) == [later.pk]


def test_what_is_on_its_way_over_the_socket_is_not_given_over_http(alice, agent, time):
    command = queue(alice)
    claims.claim(dispatcher="d1")
    assert fetch(agent) == []
    assert agent.take() == [command.pk]
    agent.disconnect()
    assert fetch(agent) == []
    time.step(LEASE_S + 1)
    assert fetch(agent) == [command.pk]


# --- answers ---


def test_the_first_completed_is_scheduled_and_the_second_is_sent(alice, agent, told):
    command = queue(alice)
    agent.take_due()
    assert agent.ack(command, "completed", completed_at="2025-11-15T18:30:00.123Z")
    row = now(command)
    assert row.status == "completed"
    assert row.acknowledged_at and not row.executed_at
    assert agent.ack(command, "completed", completed_at="2025-11-15T19:00:00.000Z")
    assert now(command).executed_at
    assert not agent.ack(command, "completed", completed_at="2025-11-15T19:00:00.000Z")
    assert kinds(command)[3:] == ["completed", "executed"]
    event = CommandEvent.objects.get(kind="executed")
    assert event.data == {"completed_at": "2025-11-15T19:00:00.000Z"}
    assert event.actor == "edge_1"


def test_what_an_agent_has_to_show_is_kept_and_the_later_result_counts(alice, agent):
    command, large = queue(alice), queue(alice)
    agent.take_due()
    agent.ack(command, "completed", result={"row": 7})
    assert now(command).result == {"row": 7}
    agent.ack(command, "completed", completed_at="2025-11-15T18:30:00Z")
    assert now(command).result == {"row": 7}
    agent.ack(command, "failed", error="bounced", result=["late"])
    assert (now(command).status, now(command).result) == ("failed", ["late"])
    assert agent.ack(large, "completed", result="x" * 65_536)
    assert (now(large).status, now(large).result) == ("completed", None)


@pytest.mark.parametrize("said", [{}, {"completed_at": "2025-11-15T18:30:00.123Z"}])
def test_the_first_completed_said_twice_is_no_second_one(alice, agent, said):
    command = queue(alice)
    agent.take_due()
    assert [agent.ack(command, "completed", **said) for _ in range(2)] == [True, False]
    assert now(command).executed_at is None


def test_a_completed_command_may_fail_after_all_and_never_the_other_way(alice, agent):
    command = queue(alice)
    agent.take_due()
    agent.ack(command, "completed")
    assert agent.ack(command, "failed", error="not delivered")
    row = now(command)
    assert (row.status, row.error) == ("failed", "not delivered")
    assert row.acknowledged_at and row.executed_at
    assert agent.ack(command, "completed")
    assert not agent.ack(command, "completed")
    assert now(command).status == "failed"
    assert kinds(command)[3:] == ["completed", "failed", "late"]


def test_the_steps_in_between_are_recorded_once_in_whatever_order(alice, agent):
    command = queue(alice)
    agent.take_due()
    said = ["executing", "received", "executing", "completed", "received", "failed", "executing"]
    recorded = [agent.ack(command, status) for status in said]
    assert recorded == [True, True, False, True, False, True, False]
    assert now(command).status == "failed"
    assert kinds(command)[3:] == ["executing", "received", "completed", "failed"]


def test_an_answer_for_a_strangers_or_an_unknown_command_changes_nothing(
    alice, agent, told, caplog
):
    command = queue(alice)
    agent.take_due()
    before = len(told())
    foreign = Agent("edge_1", account="other")
    for who in (Agent("edge_2"), foreign):
        assert not who.ack(command, "completed")
    assert not agent.ack("msg_none", "completed")
    assert now(command).status == "delivered"
    assert len(told()) == before
    logged = [record.msg for record in caplog.records if "ack_ignored" in str(record.msg)]
    assert [line["agent"] for line in logged] == ["edge_2", "edge_1", "edge_1"]


@pytest.mark.parametrize("leased", [False, True])
def test_an_answer_for_what_was_never_written_changes_nothing(alice, agent, leased, busy):
    command = queue(alice)
    if leased:
        claims.claim(dispatcher="d1")
    assert not agent.ack(command, "completed")
    assert now(command).status == ("leased" if leased else "scheduled")
    assert len(kinds(command)) == 1 + leased


def test_a_status_that_is_none_is_refused_with_the_allowed_ones(alice, agent):
    command = queue(alice)
    agent.take_due()
    for status in ("", "done", "cancelled", "scheduled"):
        with pytest.raises(InvalidParams, match="completed, failed, received, executing"):
            agent.ack(command, status)
    assert now(command).status == "delivered"


def test_an_answer_after_the_expiry_is_late_once_and_changes_nothing(alice, agent, time):
    command = queue(alice, expires_at=in_(10))
    agent.take_due()
    time.step(11)
    assert claims.expire() == 1
    assert [agent.ack(command, "completed"), agent.ack(command, "failed")] == [True, False]
    assert (now(command).status, now(command).error) == (
        "expired", "expired before it was acknowledged"
    )  # fmt: skip
    assert kinds(command)[3:] == ["expired", "late"]
    assert CommandEvent.objects.get(kind="late").data == {"status": "completed"}


@pytest.mark.parametrize("status", ["received", "executing"])
def test_what_the_agent_is_at_does_not_expire(alice, agent, time, status):
    command = queue(alice, expires_at=in_(10))
    agent.take_due()
    agent.ack(command, status)
    time.step(11)
    assert claims.expire() == 0
    assert agent.ack(command, "completed")
    assert now(command).status == "completed"
