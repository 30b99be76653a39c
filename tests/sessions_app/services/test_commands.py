"""Commands as people handle them: schedule, cancel, retry, look, send to many."""

from __future__ import annotations

import datetime as dt

import pytest

from accounts.models import EdgeAgent
from realtime.core.errors import Conflict, FrameTooLarge, InvalidParams, NotFound, RoleTooLow
from realtime.core.principal import Principal
from sessions_app.models import CommandEvent, ScheduledCommand
from sessions_app.services import agents, claims, commands
from sessions_app.services.command_request import MAX_PAYLOAD_BYTES
from tests.sessions_app.edge import Agent, kinds, now, queue


def in_(seconds):
    return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)


def schedule(principal, **fields):
    asked = {"agent_id": "edge_1", "command_type": "set_rule", "payload": {}, **fields}
    return commands.schedule(principal=principal, **asked)


# --- schedule ---


def test_a_command_for_an_agent_never_seen_waits_for_it(alice, told):
    command, created = schedule(alice, payload={"thread_id": "iMessage;-;+1", "text": "hey 💙"})
    assert created
    assert command.status == "scheduled"
    assert (command.seq, command.created_by, command.attempts) == (1, "alice", 0)
    assert EdgeAgent.objects.get().agent_id == "edge_1"
    assert kinds(command) == ["scheduled"]
    assert now(command).payload == {"thread_id": "iMessage;-;+1", "text": "hey 💙"}


def test_who_watches_hears_ids_and_states_and_nothing_of_the_payload(alice, told):
    command, _ = schedule(alice, payload={"text": "secret words"})
    ((targets, event),) = told()
    assert set(event.data) == {"agent_id", "command_id", "status", "at"}
    assert event.data["command_id"] == command.pk
    assert event.name == "command.updated"
    assert event.data["status"] == "scheduled"
    assert [(a.kind, a.realm, a.key) for a in targets] == [
        ("topic", "nexus:default", "agent.edge_1.commands"),
        ("group", "account:default", "admins"),
        ("group", "account:default", "pages"),
        ("group", "system", "pages"),
        ("client", "account:default", "alice"),
    ]


def test_dispatchers_are_woken_for_who_is_here_and_for_nobody_else(alice, agent, busy, told):
    queue(alice)
    targets, wake = told()[-1]
    assert [address.key for address in targets] == ["dispatchers"]
    assert wake.data == {"agent": agent.row.pk}
    agent.disconnect()
    before = len(told("edge.dispatch"))
    queue(alice)
    assert len(told("edge.dispatch")) == before
    agent.connect()
    assert len(told("edge.dispatch")) == before + 1


def test_the_commands_of_each_agent_are_numbered(alice):
    assert [queue(alice, name).seq for name in ("a", "a", "b", "a")] == [1, 2, 1, 3]


def test_a_viewer_may_neither_send_nor_look(alice):
    command = queue(alice)
    viewer = Principal(id="alice", role="viewer")
    for call in (
        lambda: schedule(viewer),
        lambda: commands.visible(viewer),
        lambda: commands.find(principal=viewer, command_id=command.pk),
        lambda: commands.history(principal=viewer, command_id=command.pk),
        lambda: commands.cancel(principal=viewer, command_id=command.pk),
        lambda: commands.retry(principal=viewer, command_id=command.pk),
        lambda: agents.visible(viewer),
    ):
        with pytest.raises(RoleTooLow):
            call()
    assert now(command).status == "scheduled"


@pytest.mark.parametrize("who", ["stranger", "admin"])
def test_operators_of_the_account_see_and_cancel_each_others_commands(people, alice, who):
    command = queue(alice)
    assert commands.find(principal=people[who], command_id=command.pk) == command
    assert commands.cancel(principal=people[who], command_id=command.pk).status == "cancelled"


@pytest.mark.parametrize("who", ["other tenant's owner", "other tenant's admin"])
def test_another_accounts_commands_and_agents_do_not_exist(people, alice, who):
    command, other = queue(alice), people[who]
    for verb in (commands.find, commands.history, commands.cancel, commands.retry):
        with pytest.raises(NotFound):
            verb(principal=other, command_id=command.pk)
    assert list(commands.visible(other)) == list(agents.visible(other)) == []
    theirs = queue(other, "edge_1")
    assert theirs.seq == 1
    assert theirs.agent_id != command.agent_id


def test_an_account_that_is_none_is_not_found(alice):
    with pytest.raises(NotFound):
        schedule(Principal(id="x", account="nowhere", role="operator"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("agent_id", ""),
        ("agent_id", "a" * 256),
        ("agent_id", "edge\x00"),
        ("command_type", " "),
        ("command_type", "t" * 129),
        ("payload", []),
        ("payload", {"a": "\x00"}),
        ("payload", {"a": 2**60}),
        ("payload", {"a": float("nan")}),
        ("payload", {"a": "\ud800"}),
        ("priority", "urgent"),
        ("delivery", "exactly_once"),
        ("priority", 0),
        ("priority", []),
        ("idempotency_key", "k" * 256),
        ("idempotency_key", 0),
        ("idempotency_key", False),
        ("idempotency_key", {}),
        ("deliver_at", "2030-01-01T00:00:00"),
        ("deliver_at", dt.datetime(2030, 1, 1)),
        ("deliver_at", "tomorrow"),
        ("deliver_at", "1970-01-01T00:00:00Z"),
        ("deliver_at", "9999-12-31T23:59:59Z"),
        ("deliver_at", "9999-12-31T23:59:59-12:00"),
        ("expires_at", "2030-01-01"),
        ("expires_at", "2001-01-01T00:00:00Z"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_by_the_fields_name(alice, field, value):
    with pytest.raises(InvalidParams, match=f"^{field}: ") as refused:
        schedule(alice, **{field: value})
    assert refused.value.details == {"field": field}
    assert not ScheduledCommand.objects.exists()


@pytest.mark.parametrize("value", ["2030-01-01\ud80000:00", "\ud800", "x" * 10_000])
@pytest.mark.parametrize("field", ["deliver_at", "priority"])
def test_a_refusal_can_be_said_whatever_was_sent(alice, field, value):
    with pytest.raises(InvalidParams) as refused:
        schedule(alice, **{field: value})
    assert len(str(refused.value).encode()) < 300


def test_an_expiry_at_or_before_the_delivery_is_refused(alice):
    at = in_(3600)
    for expires_at in (at, in_(60)):
        with pytest.raises(InvalidParams, match="^expires_at: "):
            schedule(alice, deliver_at=at, expires_at=expires_at)
    assert schedule(alice, deliver_at=at, expires_at=at + dt.timedelta(seconds=1))


def test_a_time_may_stand_in_any_zone(alice):
    command = queue(alice, deliver_at="2030-06-01T14:30:00+02:00")
    assert now(command).deliver_at == dt.datetime(2030, 6, 1, 12, 30, tzinfo=dt.UTC)


def test_a_payload_of_the_limit_is_taken_and_one_byte_more_is_not(alice):
    def filled(size):
        return {"a": "x" * (size - len('{"a":""}'))}

    assert queue(alice, payload=filled(MAX_PAYLOAD_BYTES)).size == MAX_PAYLOAD_BYTES == 262_144
    with pytest.raises(FrameTooLarge, match="payload"):
        schedule(alice, payload=filled(MAX_PAYLOAD_BYTES + 1))


def test_the_priority_may_be_given_in_the_payload(alice):
    assert queue(alice, payload={"priority": "immediate"}).priority == "immediate"
    assert queue(alice, payload={"priority": 7}).priority == "normal"
    assert queue(alice, payload={}, priority="immediate").priority == "immediate"


# --- idempotency ---


def test_the_same_key_with_the_same_request_gives_the_same_command(alice):
    at = in_(60)
    asked = {"idempotency_key": "k", "payload": {"a": 1, "b": 2}, "deliver_at": at}
    first, created = schedule(alice, **asked)
    same, again = schedule(alice, **{**asked, "payload": {"b": 2, "a": 1}})
    assert (created, again, same) == (True, False, first)
    assert ScheduledCommand.objects.count() == CommandEvent.objects.count() == 1


@pytest.mark.parametrize(
    "other",
    [
        {"payload": {"a": 2}},
        {"command_type": "update_plan"},
        {"agent_id": "edge_2"},
        {"priority": "immediate"},
        {"delivery": "at_most_once"},
        {"deliver_at": "2030-01-01T00:00:00Z"},
        {"expires_at": "2030-01-01T00:00:00Z"},
    ],
)
def test_the_same_key_with_another_request_is_a_conflict(alice, other):
    schedule(alice, idempotency_key="k", payload={"a": 1})
    with pytest.raises(Conflict):
        schedule(alice, **{"idempotency_key": "k", "payload": {"a": 1}, **other})
    assert ScheduledCommand.objects.count() == 1


def test_a_key_is_its_callers_own(alice, bob, other_alice):
    made = [queue(who, idempotency_key="k") for who in (alice, bob, other_alice)]
    assert len({command.pk for command in made}) == 3


# --- cancel and retry ---


def test_a_command_is_cancelled_before_and_after_its_delivery(alice, bob, agent):
    early, late = queue(alice), queue(alice)
    commands.cancel(principal=bob, command_id=early.pk)
    assert agent.take_due() == [late.pk]
    commands.cancel(principal=bob, command_id=late.pk)
    assert agent.ack(late, "completed")
    assert now(early).status == now(late).status == "cancelled"
    assert kinds(late) == ["scheduled", "leased", "delivered", "cancelled", "late"]
    assert CommandEvent.objects.get(command=early, kind="cancelled").actor == "bob"


def test_what_has_ended_is_not_cancelled_and_the_refusal_names_the_state(alice, agent):
    command = queue(alice)
    agent.take_due()
    agent.ack(command, "completed")
    with pytest.raises(Conflict, match="completed") as refused:
        commands.cancel(principal=alice, command_id=command.pk)
    assert refused.value.details == {"status": "completed"}
    cancelled = queue(alice)
    commands.cancel(principal=alice, command_id=cancelled.pk)
    with pytest.raises(Conflict, match="cancelled"):
        commands.cancel(principal=alice, command_id=cancelled.pk)


def test_a_failed_command_is_put_back_and_delivered_once_more(alice, agent, time):
    command = queue(alice, expires_at=in_(20))
    agent.take_due()
    agent.ack(command, "failed", error="no")
    time.step(60)
    commands.retry(principal=alice, command_id=command.pk)
    row = now(command)
    assert (row.status, row.attempts, row.error, row.expires_at) == ("scheduled", 1, "", None)
    assert agent.take_due() == [command.pk]
    assert agent.ack(command, "completed")
    assert now(command).attempts == 2
    assert kinds(command) == [
        *("scheduled", "leased", "delivered", "failed"),
        *("scheduled", "leased", "delivered", "completed"),
    ]


def test_an_answer_between_a_retry_and_its_delivery_is_late(alice, agent):
    command = queue(alice)
    agent.take_due()
    agent.ack(command, "failed")
    commands.retry(principal=alice, command_id=command.pk)
    assert agent.ack(command, "failed")
    assert now(command).status == "scheduled"
    assert kinds(command)[-1] == "late"


def test_an_expired_command_can_be_retried_and_expire_again(alice, time):
    command = queue(alice, expires_at=in_(60))
    time.step(61)
    claims.expire()
    commands.retry(principal=alice, command_id=command.pk)
    ScheduledCommand.objects.update(expires_at=in_(0))
    assert claims.expire() == 1
    assert kinds(command) == ["scheduled", "expired", "scheduled", "expired"]


@pytest.mark.parametrize("state", ["scheduled", "delivered", "completed", "cancelled"])
def test_only_what_went_wrong_is_retried(alice, agent, busy, state):
    command = queue(alice)
    if state in {"delivered", "completed"}:
        agent.take_due()
    if state == "completed":
        agent.ack(command, "completed")
    if state == "cancelled":
        commands.cancel(principal=alice, command_id=command.pk)
    with pytest.raises(Conflict, match=state):
        commands.retry(principal=alice, command_id=command.pk)


def test_an_id_that_is_none_is_not_found(alice):
    for command_id in ("cmd_none", "x\x00", ""):
        with pytest.raises(NotFound):
            commands.cancel(principal=alice, command_id=command_id)


# --- many ---


def test_a_bulk_goes_to_those_that_fit_and_says_how_far_it_is(alice, other_alice):
    for name in ("edge_a", "edge_b", "mac_a"):
        Agent(name).connect()
    Agent("edge_a").disconnect()
    queue(other_alice, "edge_x")
    names = agents.matching(principal=alice, pattern="edge_*")
    assert names == ["edge_a", "edge_b"]
    steps = list(
        commands.send_to_many(
            principal=alice, agent_ids=names, command_type="set_rule", payload={"a": 1}
        )
    )
    assert [(step.done, step.total, step.agent_id) for step in steps] == [
        (1, 2, "edge_a"),
        (2, 2, "edge_b"),
    ]
    assert ScheduledCommand.objects.filter(payload={"a": 1}).count() == 2


def test_a_bulk_finds_those_that_are_online_or_are_not(alice):
    here, gone, removed = Agent("here"), Agent("gone"), Agent("removed")
    for agent in (here, gone, removed):
        agent.connect()
    gone.disconnect()
    EdgeAgent.objects.filter(agent_id="removed").update(is_active=False)
    assert agents.matching(principal=alice, online=True) == ["here"]
    assert agents.matching(principal=alice, online=False) == ["gone"]


def test_a_bulk_that_is_repeated_queues_nothing_twice_and_goes_on_after_a_refusal(alice):
    def send(names):
        asked = {"command_type": "set_rule", "payload": {}, "idempotency_key": "k"}
        return list(commands.send_to_many(principal=alice, agent_ids=names, **asked))

    first = send(["a", "", "b"])
    assert [bool(step.error) for step in first] == [False, True, False]
    assert [step.command for step in send(["a", "b"])] == [first[0].command, first[2].command]
    assert ScheduledCommand.objects.count() == 2


def test_agents_are_shown_with_their_queue(alice, agent):
    queue(alice)
    done = queue(alice)
    commands.cancel(principal=alice, command_id=done.pk)
    Agent("edge_2").connect()
    shown = {row.agent_id: (row.online, row.queue_depth) for row in agents.visible(alice)}
    assert shown == {"edge_1": (True, 1), "edge_2": (True, 0)}
    agent.disconnect()
    assert not agents.visible(alice).get(agent_id="edge_1").online
