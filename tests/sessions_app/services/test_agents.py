"""Edge agents: the newest socket holds one; what it says of itself."""

from __future__ import annotations

import pytest

from accounts.models import EdgeAgent
from realtime.core.errors import InvalidParams
from sessions_app.services import agents
from tests.sessions_app.edge import Agent, queue


def test_an_agent_is_known_since_its_first_connection(accounts, told):
    agent = Agent("edge_1")
    agent.connect()
    row = EdgeAgent.objects.get()
    assert (row.agent_id, row.account.slug) == ("edge_1", "default")
    assert row.connection == agent.connection
    assert row.last_seen_at
    (targets, event) = told("edge.held")[0]
    assert [(a.realm, a.key) for a in targets] == [("edge:default", "edge_1")]
    assert event.data == {"connection": agent.connection}


def test_the_newer_connection_holds_and_the_olders_end_changes_nothing(accounts):
    agent = Agent()
    old = agent.connect()
    new = agent.connect()
    agents.released(principal=agent.principal, connection=old)
    assert agent.row.connection == new
    agents.released(principal=agent.principal, connection=new)
    assert agent.row.connection == ""


def test_the_end_of_another_accounts_socket_changes_nothing(accounts):
    agent, foreign = Agent(), Agent(account="other")
    agent.connect()
    agents.released(principal=foreign.principal, connection=agent.connection)
    assert agent.row.connection == agent.connection


def test_the_dispatchers_hear_of_an_agent_for_which_something_waits(alice, told):
    idle, awaited = Agent("idle"), Agent("awaited")
    queue(alice, "awaited")
    before = len(told("edge.dispatch"))
    idle.connect()
    assert len(told("edge.dispatch")) == before
    awaited.connect()
    assert told("edge.dispatch")[-1][1].data == {"agent": awaited.row.pk}


def test_a_report_is_kept_as_the_newest(accounts, told):
    agent = Agent()
    agent.connect()
    agents.report(principal=agent.principal, status={"scheduled_messages": 3})
    agents.report(principal=agent.principal, status={"scheduled_messages": 2})
    assert agent.row.status == {"scheduled_messages": 2}
    assert agent.row.status_at == agent.row.last_seen_at
    targets, event = told("system.changed")[-1]
    assert event.data == {"what": "agents"}
    assert {target.kind for target in targets} == {"group"}


def test_a_report_that_is_too_large_is_refused(accounts):
    agent = Agent()
    with pytest.raises(InvalidParams, match="16384"):
        agents.report(principal=agent.principal, status={"a": "x" * 16_384})
