"""Who may have a command now: claims, and the leases that lapse."""

from __future__ import annotations

import datetime as dt

from sessions_app.models import Presence, ScheduledCommand
from sessions_app.services import claims, nodes
from tests.sessions_app.edge import LEASE_S, Agent, kinds, now, queue


def in_(seconds):
    return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)


def test_a_claim_is_a_lease_under_the_dispatchers_name(alice, agent, told, busy):
    command = queue(alice)
    assert claims.claim(dispatcher="d1") == [("default", "edge_1")]
    row = now(command)
    assert (row.status, row.lease_owner, row.leases) == ("leased", "d1", 1)
    left_s = (row.lease_until - dt.datetime.now(dt.UTC)).total_seconds()
    assert LEASE_S / 2 < left_s <= LEASE_S
    assert told("command.updated")[-1][1].data["status"] == "leased"
    assert claims.claim(dispatcher="d2") == []


def test_only_for_agents_whose_socket_a_living_process_holds(alice, agent, dead_node, busy):
    silent, orphaned, gone = Agent("silent"), Agent("orphaned"), Agent("gone")
    orphaned.connect(node="node-x")
    gone.connect()
    gone.disconnect()
    nodes.renew(node="node-x", host="here", pid=3, lease_s=-1)
    for one in (agent, silent, orphaned, gone):
        queue(alice, one.principal.id)
    assert claims.claim(dispatcher="d1") == [("default", "edge_1")]


def test_not_for_an_agent_that_was_deactivated_nor_for_a_socket_of_another_protocol(alice, agent):
    other = Agent("other")
    other.connect()
    Presence.objects.filter(pk=other.connection).update(protocol="goclaw")
    row = agent.row
    row.is_active = False
    row.save()
    queue(alice), queue(alice, "other")
    assert claims.claim(dispatcher="d1") == []


def test_nothing_is_claimed_before_its_time_or_after_its_expiry(alice, agent, time):
    later = queue(alice, deliver_at=in_(60), expires_at=in_(120))
    assert claims.claim(dispatcher="d1") == []
    assert 55 < claims.next_due_in_s() <= 60
    time.step(61)
    assert claims.claim(dispatcher="d1")
    assert claims.next_due_in_s() is None
    time.step(LEASE_S)
    assert claims.return_lapsed() == 1
    time.step(60)
    assert claims.claim(dispatcher="d1") == []
    assert now(later).status == "scheduled"


def test_an_agent_gets_no_more_than_its_window_and_nobody_starves(alice, agent, busy):
    other = Agent("edge_2")
    other.connect()
    for _ in range(40):
        queue(alice)
    queue(alice, "edge_2")
    pairs = claims.claim(dispatcher="d1", limit=35)
    assert sorted(pairs) == [("default", "edge_1"), ("default", "edge_2")]
    assert ScheduledCommand.objects.filter(agent=agent.row, status="leased").count() == 32


def test_a_claim_keeps_to_its_limit_and_to_the_agents_asked_for(alice, agent, busy):
    other = Agent("edge_2")
    other.connect()
    for name in ("edge_1", "edge_1", "edge_2"):
        queue(alice, name)
    assert claims.claim(dispatcher="d1", agents=[]) == []
    assert claims.claim(dispatcher="d1", agents=[other.row.pk]) == [("default", "edge_2")]
    assert claims.claim(dispatcher="d1", limit=1) == [("default", "edge_1")]
    assert ScheduledCommand.objects.filter(status="leased").count() == 2


def test_a_lapsed_lease_returns_what_was_not_taken_and_only_that(alice, agent, time):
    first = queue(alice)
    assert agent.take_due() == [first.pk]
    second = queue(alice)
    claims.claim(dispatcher="d1")
    time.step(LEASE_S - 10)
    assert claims.return_lapsed() == 0
    time.step(12)
    assert claims.return_lapsed() == 1
    assert (now(first).status, now(second).status) == ("delivered", "scheduled")
    claims.claim(dispatcher="d2")
    time.step(LEASE_S + 1)
    assert claims.return_lapsed() == 1
    assert kinds(second) == ["scheduled", *["leased", "lease_lapsed"] * 2]


def test_sockets_that_did_not_hear_are_told_again(alice, agent, time):
    queue(alice)
    claims.claim(dispatcher="d1")
    assert claims.overdue() == []
    time.step(2)
    assert claims.overdue() == [("default", "edge_1")]
    agent.take()
    assert claims.overdue() == []
    agent.connect()
    assert claims.overdue() == []
    time.step(LEASE_S)
    assert claims.overdue() == [("default", "edge_1")]
