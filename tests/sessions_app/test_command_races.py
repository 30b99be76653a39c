"""What many do to commands at once: nothing twice, nothing lost. On SQLite and on PostgreSQL."""

from __future__ import annotations

from collections import Counter

import pytest

from accounts.models import Account, EdgeAgent
from realtime.core.errors import Conflict
from realtime.core.principal import Principal
from sessions_app.models import CommandEvent, ScheduledCommand
from sessions_app.services import agents, claims, commands
from tests.accounts.test_concurrency import at_once
from tests.sessions_app.edge import Agent, kinds, now, queue

pytestmark = pytest.mark.django_db(transaction=True)

ALICE = Principal(id="alice", role="operator")
FIELDS = {"command_type": "set_rule", "payload": {}}


@pytest.fixture(autouse=True)
def account():
    Account.default()


def connected(*names):
    found = [Agent(name) for name in names]
    for agent in found:
        agent.connect()
    return found


def test_dispatchers_beside_each_other_claim_everything_once():
    connected("edge_1", "edge_2", "edge_3")
    for number in range(60):
        queue(ALICE, f"edge_{number % 3 + 1}")
    at_once(*[lambda n=n: claims.claim(dispatcher=f"d{n}", limit=20) for n in range(8)])
    claims.claim(dispatcher="last")
    leased = CommandEvent.objects.filter(kind="leased")
    assert leased.count() == leased.values("command").distinct().count() == 60
    assert set(ScheduledCommand.objects.values_list("status", "leases")) == {("leased", 1)}


def test_of_two_connections_only_the_newer_is_given_anything_and_once():
    (agent,) = connected("edge_1")
    old = agent.connection
    made = [queue(ALICE).pk for _ in range(12)]
    claims.claim(dispatcher="d1")
    new = agent.connect()
    answers = at_once(*[lambda c=c: agent.take(c) for c in [old, new] * 4])
    assert sorted(sum(answers, [])) == sorted(made)
    assert set(ScheduledCommand.objects.values_list("written_to", "attempts")) == {(new, 1)}


def test_of_connections_that_come_at_once_one_holds_the_agent():
    (agent,) = connected("edge_1")
    names = [f"c{number}" for number in range(8)]
    at_once(*[lambda c=c: agents.hold(principal=agent.principal, connection=c) for c in names])
    assert EdgeAgent.objects.get().connection in names


def test_a_hundred_answers_at_once_are_one_of_each():
    (agent,) = connected("edge_1")
    command = queue(ALICE)
    agent.take_due()
    statuses = ["received", "executing", "completed", "failed"] * 25
    recorded = at_once(*[lambda s=s: agent.ack(command, s) for s in statuses])
    row = now(command)
    assert row.status == "failed"
    assert row.acknowledged_at
    counted = Counter(kinds(command))
    assert set(counted.values()) == {1}
    assert (
        {"failed"}
        <= set(counted)
        <= {
            *("scheduled", "leased", "delivered", "received", "executing"),
            *("completed", "executed", "failed", "late"),
        }
    )
    assert sum(recorded) == len(counted) - 3


def test_a_hundred_times_the_same_answer_is_one_event():
    (agent,) = connected("edge_1")
    command = queue(ALICE)
    agent.take_due()
    said = {"completed_at": "2025-11-15T18:30:00Z"}
    recorded = at_once(*[lambda: agent.ack(command, "completed", **said)] * 100)
    assert sum(recorded) == kinds(command).count("completed") == 1
    assert now(command).executed_at is None


def test_a_cancel_and_a_write_at_once_agree():
    (agent,) = connected("edge_1")
    made = [queue(ALICE) for _ in range(8)]
    claims.claim(dispatcher="d1")
    answers = at_once(
        agent.take,
        *[lambda c=c: commands.cancel(principal=ALICE, command_id=c.pk) and [] for c in made],
        agent.take,
    )
    written = set(answers[0]) | set(answers[-1])
    assert len(written) == len(answers[0]) + len(answers[-1])
    for command in made:
        assert now(command).status == "cancelled"
        assert ("delivered" in kinds(command)) == (command.pk in written)


def test_the_same_key_at_once_is_one_command():
    def send(agent_id="edge_1"):
        return commands.schedule(principal=ALICE, agent_id=agent_id, idempotency_key="k", **FIELDS)

    answers = at_once(*[send] * 12)
    assert len({command.pk for command, _ in answers}) == 1
    assert sum(created for _, created in answers) == 1
    ScheduledCommand.objects.all().delete()
    mixed = at_once(*[lambda n=n: send(f"edge_{n % 4}") for n in range(12)])
    assert sum(isinstance(answer, tuple) and answer[1] for answer in mixed) == 1
    assert all(isinstance(answer, Conflict | tuple) for answer in mixed)
    assert ScheduledCommand.objects.count() == 1


def test_commands_queued_at_once_for_a_new_agent_are_numbered_without_a_gap():
    at_once(*[lambda: queue(ALICE, "edge_new")] * 12)
    assert EdgeAgent.objects.count() == 1
    assert sorted(ScheduledCommand.objects.values_list("seq", flat=True)) == list(range(1, 13))


def test_sweepers_beside_each_other_end_everything_once(monkeypatch):
    for _ in range(30):
        queue(ALICE, expires_at="2031-01-01T00:00:00Z")
    ScheduledCommand.objects.update(expires_at="2020-01-01T00:00:00Z")
    ended = at_once(*[claims.expire] * 6)
    assert sum(ended) == CommandEvent.objects.filter(kind="expired").count() == 30
