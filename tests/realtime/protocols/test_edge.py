"""What transcripts cannot say of edge agents: the operations' fields, and what is asked again."""

from __future__ import annotations

import json

import pytest

from realtime.core import operations as ops
from realtime.core.effects import Ask, Call, Send, SendText, Touch
from realtime.core.errors import MalformedFrame, OriginRefused, Unavailable
from realtime.core.events import Event
from realtime.core.handshake import Handshake
from realtime.core.principal import Principal
from realtime.protocols.admin import AdminProtocol
from realtime.protocols.edge import EdgeProtocol
from realtime.protocols.goclaw import GoclawProtocol

HOLD = ops.HoldAgent(connection="c1")
TAKE = ops.TakeCommands(connection="c1")
CALLED = ops.TakeCommands(connection="c1", called=True)
UPDATED = Event(
    "command.updated",
    {"agent_id": "edge_1", "command_id": "m", "status": "delivered", "at": "2025-11-15T06:31:11Z"},
)

ONLINE = Event(
    "agent.updated", {"agent_id": "edge_1", "online": True, "at": "2025-11-15T06:31:11Z"}
)


@pytest.fixture
def edge():
    protocol = EdgeProtocol(connection="c1")
    protocol.principal = Principal(id="edge_1", via="edge")
    return protocol


def asked(effects):
    return [effect.operation for effect in effects if isinstance(effect, Ask | Call)]


@pytest.mark.parametrize("origin", ["https://evil.example", "http://testserver", "null", ""])
def test_an_agent_that_names_an_origin_is_a_page(edge, origin):
    with pytest.raises(OriginRefused):
        edge.handshake(Handshake(path="/edge/ws", headers={"host": "testserver", "origin": origin}))


@pytest.mark.parametrize(
    ("kind", "counts"), [("ping", False), ("command_ack", False), ("status", True), ("x", True)]
)
def test_no_rate_limit_drops_a_ping_or_an_acknowledgement(edge, kind, counts):
    assert edge.counts({"type": kind}) is counts


@pytest.mark.parametrize("place", ["data", "payload", "top"])
@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"status": "received"}, ("received", "", "")),
        ({"status": "executing"}, ("executing", "", "")),
        (
            {"status": "completed", "completed_at": "2025-11-15T18:30:00.123Z"},
            ("completed", "", "2025-11-15T18:30:00.123Z"),
        ),
        ({"status": "failed", "error": "no"}, ("failed", "no", "")),
        ({"success": True, "error": None, "timestamp": "t"}, ("completed", "", "t")),
        ({"success": False, "error": "no", "timestamp": "t"}, ("failed", "no", "t")),
    ],
)
def test_an_acknowledgement_is_read_in_both_shapes_and_at_all_three_places(
    edge, place, said, meant
):
    body = {"command_id": "m", **said}
    frame = {"type": "command_ack", **(body if place == "top" else {place: body})}
    (effect,) = edge.receive(frame)
    status, error, completed_at = meant
    assert effect.operation == ops.AcknowledgeCommand(
        command_id="m", status=status, error=error, completed_at=completed_at
    )


def test_a_result_goes_with_its_acknowledgement(edge):
    body = {"command_id": "m", "status": "completed", "result": {"row": 7}}
    (effect,) = edge.receive({"type": "command_ack", "data": body})
    assert effect.operation.result == {"row": 7}


@pytest.mark.parametrize("body", [{}, {"command_id": 7}, {"command_id": "m", "status": 7}])
def test_an_acknowledgement_that_cannot_be_read_is_refused(edge, body):
    with pytest.raises(MalformedFrame, match="command_ack"):
        edge.receive({"type": "command_ack", "data": body})


def test_a_pong_is_one_key_without_spaces_and_a_sign_of_life(edge):
    assert edge.receive({"type": "ping"}) == [Touch(), SendText('{"type":"pong"}')]


def test_an_agent_that_could_not_be_held_is_held_at_its_next_ping_and_once(edge):
    (told,) = edge.failed("hold", Unavailable())
    assert told.frame["data"]["code"] == "UNAVAILABLE"
    assert asked(edge.receive({"type": "ping"})) == [HOLD]
    assert asked(edge.receive({"type": "ping"})) == []
    edge.failed("ack", Unavailable())
    assert asked(edge.receive({"type": "ping"})) == []


def test_more_is_asked_for_until_there_is_no_more(edge):
    command = {"type": "command", "data": {}, "payload": {}}
    effects = edge.replied("take", {"commands": [command], "more": True})
    assert effects[0] == Send(command)
    assert asked(effects) == [CALLED]
    assert edge.replied("take", {"commands": [], "more": False}) == []


def test_who_is_called_takes_and_who_missed_something_looks(edge):
    assert asked(edge.deliver(Event("edge.due"))) == [CALLED]
    assert asked(edge.deliver(Event("system.resync"))) == [TAKE]
    assert asked(edge.replied("ack", {"recorded": True})) == [TAKE]


def test_before_its_own_hold_has_come_by_a_connection_is_not_replaced(edge):
    older = Event("edge.held", {"connection": "c0"})
    assert edge.deliver(older) == []
    edge.deliver(Event("edge.held", {"connection": "c1"}))
    (close,) = edge.deliver(Event("edge.held", {"connection": "c2"}))
    assert close.code == 4009


# --- the others who hear of commands ---


@pytest.mark.parametrize(("role", "frames"), [("viewer", 0), ("operator", 1), ("admin", 1)])
def test_operators_of_001_hear_of_commands_and_agents_and_viewers_do_not(role, frames):
    protocol = GoclawProtocol()
    protocol.principal = Principal(id="alice", role=role)
    for event in (UPDATED, ONLINE):
        told = protocol.deliver(event)
        assert len(told) == frames
        for effect in told:
            frame = json.loads(effect.text)
            assert (frame["event"], frame["payload"]) == (event.name, event.data)


def test_admin_pages_are_told_that_commands_changed():
    (effect,) = AdminProtocol().deliver(UPDATED)
    assert effect.frame == {"type": "changed", "what": "commands"}
