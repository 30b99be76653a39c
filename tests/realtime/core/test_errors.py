from __future__ import annotations

import pytest

from realtime.core import errors
from realtime.core.errors import WIRE, WIRES, Drop, GatewayError, Never, Refuse, Say, Shut

KINDS = GatewayError.__subclasses__()


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_an_answer_on_every_wire(kind):
    assert set(WIRE[kind]) == set(WIRES)


@pytest.mark.parametrize("kind", KINDS)
def test_http_is_always_answered_with_a_status(kind):
    assert isinstance(WIRE[kind]["http"], Refuse | Never)


# PROTOCOLS.md 0.2, cell by cell.
@pytest.mark.parametrize(
    ("kind", "edge", "goclaw", "remote", "aether", "nexus"),
    [
        (errors.MissingCredentials, Shut(4001), Say(), Shut(4003), Refuse(403), Refuse(401)),
        (errors.BadCredentials, Shut(1008), Say(), Shut(4003), Refuse(403), Refuse(403)),
        (errors.FrameTooLarge, Shut(1009), Shut(1009), Shut(1009), Shut(1009), Shut(1009)),
        (errors.MalformedFrame, Say(), Say(), Drop(), Say(), Say()),
        (errors.HostRefused, *[Refuse(400)] * 5),
        (errors.OriginRefused, *[Refuse(403)] * 5),
        (errors.SlowConsumer, *[Shut(4008)] * 5),
        (errors.Revoked, Shut(1008), Shut(4003), Shut(4003), Shut(4003), Shut(4003)),
        (errors.Draining, *[Shut(1012)] * 5),
        (errors.NotFound, Say(), Say(), Shut(4001), Say(), Say()),
        (errors.Replaced, Shut(4009), Never(), Shut(4009), Never(), Never()),
        (errors.ClientIdInUse, *[Never()] * 3, Refuse(403), Never()),
        (errors.InternalFault, Shut(1011), Say(), Shut(1011), Shut(1011), Say()),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_table_says_what_the_specification_says(kind, edge, goclaw, remote, aether, nexus):
    answers = [edge, goclaw, remote, aether, nexus]
    assert [WIRE[kind][wire] for wire in WIRES[:5]] == answers


def test_a_subclass_without_a_row_is_worded_as_its_parent():
    class Special(errors.NotFound):
        pass

    assert errors.wire_answer("http", Special()) == Refuse(404)
