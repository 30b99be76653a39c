"""Who comes in: the upgrade request, its credential, and what changes meanwhile."""

from __future__ import annotations

import pytest
import structlog

from realtime.bus.hub import Hub
from realtime.core import addresses, events
from realtime.core.errors import BadCredentials, MissingCredentials, Revoked
from realtime.core.events import Event
from realtime.core.handshake import Handshake
from realtime.core.lifecycle import Phase
from realtime.core.limits import Limits
from realtime.neighbours import PeerGone
from tests.doubles import FakeServices, a_connection, a_request
from tests.realtime.connection.toys import Closing, Knocking

TEAM = addresses.group("toy", "team")


async def test_a_stranger_of_a_connect_first_protocol_may_greet():
    connection, peer, _ = a_connection(limits=Limits(max_frame_bytes=4711))
    await connection.open(a_request())
    assert peer.door == [("accept", 4711)]
    assert connection.phase is Phase.GREETING
    assert peer.outbound.sent == [], "nothing is sent before the client's first frame"


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"host": "evil.example"}, 400), ({"origin": "https://evil.example"}, 403)],
)
async def test_a_wrong_host_or_origin_is_refused_before_the_upgrade(headers, status):
    connection, peer, _ = a_connection()
    await connection.open(a_request(**headers))
    ((verb, given, _),) = peer.door
    assert (verb, given) == ("refuse", status)
    assert connection.phase is Phase.CLOSED


async def test_bad_credentials_in_the_handshake_refuse_the_upgrade():
    services = FakeServices()
    services.identity = BadCredentials("no")
    connection, peer, _ = a_connection(Knocking, services=services)
    await connection.open(a_request())
    assert peer.door == [("refuse", 403, "no")]


async def test_a_wire_that_closes_accepts_first_so_that_the_code_is_seen():
    services = FakeServices()
    services.identity = MissingCredentials("who?")
    connection, peer, _ = a_connection(Closing, services=services)
    await connection.open(a_request())
    assert peer.door[0][0] == "accept"
    assert peer.outbound.sent == [("close", 4003, "who?")]


async def test_our_own_fault_at_the_door_tells_nothing():
    services = FakeServices()
    services.identity = ZeroDivisionError("secret detail")
    connection, peer, _ = a_connection(Knocking, services=services)
    await connection.open(a_request())
    assert peer.door == [("refuse", 500, "internal error")]


async def test_reachable_then_present_then_welcomed():
    hub, order = Hub(), []

    class Joining(Knocking):
        joins = [TEAM]

    connection, peer, services = a_connection(Joining, hub=hub)
    services.on_arrive = lambda: order.append(
        ("present", bool(hub._members.get(TEAM)), list(peer.door), list(peer.outbound.sent))
    )
    await connection.open(a_request())
    assert order == [("present", True, [], [])]
    assert peer.outbound.sent == [{"welcome": "alice"}]


async def test_an_identity_revoked_between_proof_and_arrival_does_not_get_in():
    connection, peer, services = a_connection()

    def revoked():
        raise Revoked

    services.on_arrive = revoked
    await connection.open(a_request())
    await connection.receive('{"connect":1}')
    assert peer.outbound.sent == [("close", 4003, "access was revoked")]
    assert connection.principal.id == ""


async def test_an_identity_revoked_while_it_arrives_does_not_stay():
    hub = Hub()
    connection, peer, services = a_connection(hub=hub)
    services.on_arrive = lambda: hub.deliver(
        [addresses.handle("user:alice")], Event(events.DISCONNECT)
    )
    await connection.open(a_request())
    await connection.receive('{"connect":1}')
    assert peer.outbound.sent == [("close", 4003, "access was revoked")]
    assert services.log[-1] == ("depart", "c1")


async def test_an_identity_revoked_during_its_handshake_is_refused():
    hub = Hub()
    connection, peer, services = a_connection(Knocking, hub=hub)
    services.on_arrive = lambda: hub.deliver(
        [addresses.handle("user:alice")], Event(events.DISCONNECT)
    )
    await connection.open(a_request())
    assert peer.outbound.sent == [("close", 4003, "access was revoked")]
    assert services.log[-1] == ("depart", "c1")


async def test_an_identity_revoked_while_its_handshake_is_answered_does_not_stay():
    hub = Hub()
    connection, peer, services = a_connection(Closing, hub=hub)
    accept = peer.accept

    async def accept_slowly(max_frame_bytes):
        hub.deliver([addresses.handle("user:alice")], Event(events.DISCONNECT))
        await accept(max_frame_bytes)

    peer.accept = accept_slowly
    await connection.open(a_request())
    assert peer.outbound.sent == [("close", 4003, "access was revoked")]
    assert services.log[-1] == ("depart", "c1")


async def test_a_malformed_request_is_refused_with_the_status_of_http():
    connection, peer, _ = a_connection()
    await connection.open(Handshake(path="/ws", headers={"host": "chat.example"}, fault="no"))
    assert peer.door == [("refuse", 400, "no")]


async def test_a_peer_that_goes_during_its_handshake_costs_one_goodbye():
    connection, peer, _ = a_connection()

    async def gone(max_frame_bytes):
        raise PeerGone

    peer.accept = gone
    with structlog.testing.capture_logs() as lines:
        await connection.open(a_request())
        await connection.closed(1006)
    assert lines == []
    assert peer.door == []
