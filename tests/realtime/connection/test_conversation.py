"""From the greeting to the end: calls and their answers, limits, what ends a socket."""

from __future__ import annotations

import asyncio
import time

import pytest
import structlog

from realtime.bus.hub import Hub
from realtime.core import addresses, events
from realtime.core.errors import BadCredentials, NotFound
from realtime.core.events import Event
from realtime.core.lifecycle import Phase
from realtime.core.limits import Limits
from realtime.core.principal import Principal
from tests.doubles import FakeServices, ToyProtocol, a_connection, a_request, until
from tests.realtime.connection.toys import Knocking, opened

TEAM = addresses.group("toy", "team")

# --- greeting ---


async def test_only_connect_is_answered_before_connect():
    connection, peer, services = a_connection()
    await connection.open(a_request())
    await connection.receive('{"id":"7"}')
    (told,) = peer.outbound.sent
    assert (told["error"], told["ref"]) == ("UNAUTHORIZED", "7")
    assert services.log == []


async def test_a_failed_connect_may_be_tried_again():
    connection, peer, services = a_connection()
    services.identity, good = BadCredentials("no"), services.identity
    await connection.open(a_request())
    await connection.receive('{"connect":1,"id":"1"}')
    assert peer.outbound.sent[-1]["error"] == "UNAUTHORIZED"
    services.identity = good
    await connection.receive('{"connect":1,"id":"2"}')
    assert peer.outbound.sent[-1] == {"welcome": "alice"}


async def test_who_says_nothing_in_time_is_closed():
    connection, peer, _ = a_connection(limits=Limits(greeting_s=0.02))
    await connection.open(a_request())
    await until(lambda: peer.outbound.sent)
    assert peer.outbound.sent == [("close", 4010, "no connect in time")]


async def test_who_connected_has_no_greeting_deadline():
    connection, peer, _ = a_connection(limits=Limits(greeting_s=0.02))
    await connection.open(a_request())
    await connection.receive('{"connect":1}')
    assert "greeting" not in connection._timers


async def test_connect_again_takes_on_the_new_identity_and_leaves_the_old_addresses():
    hub = Hub()

    class Personal(ToyProtocol):
        @property
        def joins(self):
            return [addresses.user("default", self.principal.id)]

    connection, peer, services = await opened(Personal, hub=hub)
    services.identity = Principal(id="bob", role="operator", handles=("user:bob",))
    await connection.receive('{"connect":1}')
    hub.publish([addresses.user("default", "alice")], Event("for alice"))
    hub.publish([addresses.user("default", "bob")], Event("for bob"))
    hub.publish([addresses.handle("user:alice")], Event(events.DISCONNECT))
    assert peer.outbound.sent == [{"welcome": "bob"}, {"event": "for bob"}]


async def test_a_failed_second_connect_changes_nothing():
    connection, peer, services = await opened()
    services.identity = BadCredentials("no")
    await connection.receive('{"connect":1}')
    assert connection.phase is Phase.OPEN
    assert connection.principal.id == "alice"


async def test_a_second_connect_that_fails_late_keeps_the_old_addresses():
    hub = Hub()

    class Personal(ToyProtocol):
        @property
        def joins(self):
            return [addresses.user("default", self.principal.id)]

    connection, peer, services = await opened(Personal, hub=hub)
    services.identity = Principal(id="bob", role="operator", handles=("user:bob",))

    def broken():
        raise ZeroDivisionError

    services.on_arrive = broken
    await connection.receive('{"connect":1}')
    peer.outbound.sent.clear()
    hub.publish([addresses.user("default", "bob")], Event("for bob"))
    hub.publish([addresses.user("default", "alice")], Event("for alice"))
    hub.deliver([addresses.handle("user:alice")], Event(events.DISCONNECT))
    assert peer.outbound.sent == [
        {"event": "for alice"},
        ("close", 4003, "access was revoked"),
    ]


# --- frames ---


async def test_a_call_is_answered_with_the_reference_of_its_frame():
    connection, peer, _ = await opened()
    await connection.receive('{"id":"9"}')
    assert peer.outbound.sent == [{"reply": {"ok": True}, "ref": "9"}]


async def test_an_error_of_the_domain_is_told_and_the_socket_lives():
    connection, peer, services = await opened()
    services.answer = NotFound("no such thing")
    await connection.receive('{"id":"9"}')
    assert peer.outbound.sent == [{"error": "NOT_FOUND", "ref": "9", "message": "no such thing"}]
    assert connection.phase is Phase.OPEN


async def test_our_own_fault_is_told_without_details_and_logged_with_them():
    connection, peer, services = await opened()
    services.answer = ZeroDivisionError("secret detail")
    with structlog.testing.capture_logs() as lines:
        await connection.receive('{"id":"9"}')
        await connection.receive('{"id":"10","boom":1}')
    assert [told["message"] for told in peer.outbound.sent] == ["internal error"] * 2
    assert [line["event"] for line in lines] == ["internal_fault"] * 2
    assert connection.phase is Phase.OPEN


async def test_an_answer_that_comes_later_lets_other_requests_pass():
    connection, peer, services = await opened()
    services.answer = later = asyncio.get_running_loop().create_future()
    await connection.receive('{"id":"slow"}')
    services.answer = "quick"
    await connection.receive('{"id":"quick"}')
    later.set_result("at last")
    await until(lambda: len(peer.outbound.sent) == 2)
    assert [told["ref"] for told in peer.outbound.sent] == ["quick", "slow"]


async def test_a_later_answer_may_be_an_error():
    connection, peer, services = await opened()
    services.answer = later = asyncio.get_running_loop().create_future()
    await connection.receive('{"id":"slow"}')
    later.set_exception(NotFound("gone"))
    await until(lambda: peer.outbound.sent)
    assert peer.outbound.sent == [{"error": "NOT_FOUND", "ref": "slow", "message": "gone"}]


async def test_a_later_answer_finds_a_closed_connection_silent():
    connection, peer, services = await opened()
    services.answer = later = asyncio.get_running_loop().create_future()
    await connection.receive('{"id":"slow"}')
    await connection.closed(1000)
    later.set_result("too late")
    await asyncio.sleep(0)
    assert peer.outbound.sent == ["gone"]


@pytest.mark.parametrize(
    "text", ["x" * 101, "ü" * 51, b"x" * 101], ids=["ascii", "two-byte", "bytes"]
)
async def test_a_frame_over_the_limit_closes(text):
    connection, peer, _ = a_connection(limits=Limits(max_frame_bytes=100))
    await connection.open(a_request())
    await connection.receive(text)
    assert peer.outbound.sent == [("close", 1009, "frame larger than 100 bytes")]


async def test_the_limit_is_counted_in_bytes():
    connection, peer, _ = a_connection(limits=Limits(max_frame_bytes=100))
    await connection.open(a_request())
    await connection.receive('{"k":"' + "ü" * 46 + '"}')  # 100 bytes, 54 characters
    assert peer.outbound.sent[0]["error"] == "UNAUTHORIZED"


async def test_the_rate_limit_counts_a_user_over_all_their_connections():
    first, peer, _ = await opened(per_minute=60)
    second, other, _ = a_connection(per_minute=60)
    second._buckets = first._buckets
    second.principal = first.principal
    second.phase = Phase.OPEN
    with structlog.testing.capture_logs() as lines:
        await first.receive('{"id":"1"}')
        await second.receive('{"id":"2"}')
        await second.receive('{"id":"3"}')
    assert [told["ref"] for told in peer.outbound.sent + other.outbound.sent] == ["1", "2"]
    (line,) = [line for line in lines if line["event"] == "security.rate_limited"]
    assert line["user"] == "alice"


# --- the bus ---


async def test_what_is_published_to_a_joined_address_arrives():
    hub = Hub()

    class Joining(ToyProtocol):
        joins = [TEAM]

    _, peer, _ = await opened(Joining, hub=hub)
    hub.publish([TEAM], Event("hello", {"n": 1}))
    hub.publish([addresses.group("toy", "another")], Event("not for us"))
    assert peer.outbound.sent == [{"event": "hello", "n": 1}]


async def test_a_revocation_closes_what_lives_on_it_and_nothing_else():
    hub = Hub()
    _, peer, _ = await opened(hub=hub)
    hub.deliver([addresses.handle("user:bob")], Event(events.DISCONNECT))
    assert peer.outbound.sent == []
    hub.deliver([addresses.handle("user:alice")], Event(events.DISCONNECT))
    assert peer.outbound.sent == [("close", 4003, "access was revoked")]


async def test_a_drain_is_noticed_and_closes_within_its_time():
    hub = Hub()
    connection, peer, _ = await opened(hub=hub)
    hub.deliver([addresses.everyone("system")], Event(events.DRAIN, {"within_s": 0.05}))
    assert peer.outbound.sent[0]["event"] == events.DRAIN
    await until(lambda: connection.phase is Phase.CLOSED)
    assert peer.outbound.sent[-1] == ("close", 1012, "server restarting")


async def test_a_stranger_hears_nothing_but_is_closed_by_a_drain():
    hub = Hub()
    connection, peer, _ = a_connection(hub=hub)
    await connection.open(a_request())
    hub.deliver([addresses.everyone("system")], Event(events.RESYNC, {"reason": "bus"}))
    assert peer.outbound.sent == []
    hub.deliver([addresses.everyone("system")], Event(events.DRAIN, {"within_s": 0.01}))
    await until(lambda: connection.phase is Phase.CLOSED)


@pytest.mark.parametrize("own", [None, 3600])
async def test_credentials_that_turn_out_to_expire_sooner_close_the_socket_then(own):
    hub, services = Hub(), FakeServices()
    ends = own and time.time() + own
    services.identity = Principal(id="alice", handles=("user:alice",), expires_at=ends)
    connection, peer, _ = await opened(hub=hub, services=services)
    for left_s in (0.5, 7200):
        soon = Event(events.EXPIRES, {"at": time.time() + left_s})
        hub.deliver([addresses.handle("user:alice")], soon)
    assert connection.phase is Phase.OPEN and peer.outbound.sent == []
    await until(lambda: peer.outbound.sent)
    assert peer.outbound.sent == [("close", 4003, "credentials have expired")]


async def test_credentials_that_turn_out_to_expire_during_the_handshake_do_so():
    hub, services = Hub(), FakeServices()
    connection, peer, _ = a_connection(Knocking, hub=hub, services=services)
    services.on_arrive = lambda: hub.deliver(
        [addresses.handle("user:alice")], Event(events.EXPIRES, {"at": time.time() + 0.5})
    )
    await connection.open(a_request())
    assert peer.outbound.sent == [{"welcome": "alice"}]
    await until(lambda: connection.phase is Phase.CLOSED)
    assert peer.outbound.sent[1:] == [("close", 4003, "credentials have expired")]


async def test_credentials_that_expire_close_the_socket():
    services = FakeServices()
    services.identity = Principal(id="alice", role="operator", expires_at=time.time() + 0.5)
    _, peer, _ = await opened(services=services)
    await until(lambda: peer.outbound.sent)
    assert peer.outbound.sent == [("close", 4003, "credentials have expired")]


async def test_a_slow_reader_is_closed_and_what_waited_is_forgotten():
    connection, peer, _ = await opened()
    connection.slow()
    connection.slow()
    assert peer.outbound.sent == ["discarded", ("close", 4008, "reading too slowly")]


# --- the end ---


async def test_a_closed_connection_leaves_every_address_and_its_presence():
    hub = Hub()

    class Joining(ToyProtocol):
        joins = [TEAM]

    connection, _, services = await opened(Joining, hub=hub)
    await connection.closed(1000)
    assert hub._members == {}
    assert services.log[-1] == ("depart", "c1")


class Watching(Knocking):
    pings_count = True


@pytest.mark.parametrize(("protocol", "counts"), [(Watching, True), (Knocking, False)])
async def test_a_ping_of_the_socket_is_a_sign_of_life_where_the_protocol_says_so(protocol, counts):
    connection, peer, _ = a_connection(protocol)
    await connection.open(a_request())
    before = connection.last_seen
    peer.outbound.lived_at = before + 5
    assert connection.last_seen == before + 5 * counts
    peer.outbound.lived_at = before - 5
    assert connection.last_seen == before


async def test_frames_after_our_close_are_ignored():
    connection, _, services = await opened()
    connection.slow()
    before = list(services.log)
    await connection.receive('{"id":"late"}')
    assert services.log == before
