"""Edge agents: the newest socket holds one; what it says of itself."""

from __future__ import annotations

import datetime as dt

import pytest

from accounts.models import EdgeAgent
from realtime.core import addresses
from realtime.core.errors import InvalidParams, Replaced
from sessions_app.models import Presence
from sessions_app.services import agents, clock
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


def test_a_socket_whose_hold_comes_late_does_not_undo_the_newer_ones(agent, told):
    """A process that stalled between the arrival and the hold of a socket."""
    older, newer = "connection-older", "connection-newer"
    account = agent.row.account
    for name in (older, newer):
        Presence.objects.create(pk=name, node="node-1", account=account, protocol="edge")
    moment = clock.now()
    for name, ago_s in ((older, 20), (newer, 10)):
        at = moment - dt.timedelta(seconds=ago_s)
        Presence.objects.filter(pk=name).update(since=at)
    Presence.objects.filter(pk=agent.connection).update(since=moment - dt.timedelta(seconds=30))
    agents.hold(principal=agent.principal, connection=newer)
    before = len(told("edge.held"))
    with pytest.raises(Replaced):
        agents.hold(principal=agent.principal, connection=older)
    assert agent.row.connection == newer
    assert len(told("edge.held")) == before
    Presence.objects.filter(pk=newer).delete()  # nobody is held up by one that is gone
    agents.hold(principal=agent.principal, connection=older)
    assert agent.row.connection == older


def test_operators_hear_that_an_agent_comes_and_goes(agent, told):
    agent.connect()
    agent.disconnect()
    heard = told("agent.updated")
    assert [event.data["online"] for _, event in heard[-2:]] == [True, False]
    targets, event = heard[-1]
    assert event.data.keys() == {"agent_id", "online", "at"}
    assert event.data["agent_id"] == "edge_1"
    topic = addresses.topic("nexus:default", "agent.edge_1.commands")
    assert targets == [topic, addresses.admins("default")]
    agent.connect()
    old = agent.connection
    agent.connect()
    agents.released(principal=agent.principal, connection=old)  # its late end is no news
    assert told("agent.updated")[-1][1].data["online"]
