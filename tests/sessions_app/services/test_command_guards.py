"""What holds a command together when another guard is gone: each alone keeps its rule."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction

from sessions_app.models import CommandEvent, ScheduledCommand, Status
from sessions_app.services import acknowledgements, claims
from tests.sessions_app.edge import LEASE_S, kinds, now, queue

ENDS = {"failed", "expired", "cancelled", "dead"}


@pytest.mark.parametrize("end", sorted(ENDS))
@pytest.mark.parametrize("to", ["leased", "delivered", "received", "executing", "completed"])
def test_from_an_end_nothing_moves_on(alice, agent, end, to):
    command = queue(alice)
    rows = ScheduledCommand.objects.filter(pk=command.pk)
    rows.update(status=end)
    assert rows.move(Status(to)) == 0
    assert now(command).status == end


def test_a_completed_command_moves_to_failed_and_nowhere_else(alice, agent):
    command = queue(alice)
    rows = ScheduledCommand.objects.filter(pk=command.pk)
    rows.update(status="completed")
    assert [to for to in Status if rows.move(to)] == [Status.FAILED]


def test_the_database_takes_each_step_once(alice, agent, busy):
    command = queue(alice)
    step = CommandEvent.objects.get(command=command, kind="scheduled")
    with pytest.raises(IntegrityError), transaction.atomic():
        CommandEvent.objects.bulk_create(
            [CommandEvent(command=command, kind="scheduled", attempt=step.attempt, at=step.at)]
        )
    assert kinds(command) == ["scheduled"]


def test_a_socket_is_not_told_of_what_was_written_to_it(alice, agent, time):
    """However long it says nothing: only another connection gets it again."""
    queue(alice)
    agent.take_due()
    time.step(LEASE_S + 1)
    assert claims.overdue() == []
    assert agent.take() == []
    agent.connect()
    assert claims.overdue() == [("default", "edge_1")]


def test_what_comes_once_only_holds_nothing_back_of_its_thread(alice, agent):
    queue(alice, delivery="at_most_once", payload={"thread_id": "t1"})
    agent.take_due()
    agent.connect()
    after = queue(alice, payload={"thread_id": "t1"})
    assert agent.take_due() == [after.pk]


def test_an_answer_judged_by_a_state_that_is_past_changes_nothing(alice, agent, monkeypatch):
    """Even with the row's lock gone, the state that was judged is the state that is changed."""
    command = queue(alice)
    agent.take_due()
    locked = acknowledgements._locked

    def overtaken(principal, command_id):
        found = locked(principal, command_id)
        ScheduledCommand.objects.filter(pk=command_id).update(status="executing")
        return found

    monkeypatch.setattr(acknowledgements, "_locked", overtaken)
    assert not agent.ack(command, "completed")
    assert now(command).status == "executing"
    assert now(command).acknowledged_at is None
    assert kinds(command)[3:] == []


def test_done_is_said_once_whenever_it_is_said_again(alice, agent):
    command = queue(alice)
    agent.take_due()
    for moment, recorded in [("18:30", True), ("19:00", True), ("20:00", False)]:
        said = {"completed_at": f"2025-11-15T{moment}:00.000Z"}
        assert agent.ack(command, "completed", **said) is recorded
        if moment == "19:00":
            done = now(command).executed_at
    assert now(command).executed_at == done
