"""What a protocol asks for by itself, and what it says only when the peer has room."""

from __future__ import annotations

import asyncio

import structlog

from realtime.asking import Asks
from realtime.core.effects import Ask, AwaitRoom, Send
from realtime.core.lifecycle import Phase
from realtime.core.operations import ReadStatus
from tests.doubles import ToyProtocol, a_connection, a_request, until
from tests.realtime.connection.toys import Knocking, opened


class Talkative(Knocking):
    """Has much to say, and waits for room in the middle of it."""

    def receive(self, frame):
        return [Send({"said": 1}), AwaitRoom(), Send({"said": 2})]


async def test_who_has_much_to_say_goes_on_when_the_peer_has_room():
    connection, peer, _ = a_connection(Talkative)
    await connection.open(a_request())
    peer.outbound.sent.clear()
    room = asyncio.Event()

    async def wait_for_room(ended):
        await room.wait()
        return True

    peer.outbound.room = wait_for_room
    receiving = asyncio.create_task(connection.receive("{}"))
    await until(lambda: peer.outbound.sent)
    assert peer.outbound.sent == [{"said": 1}]
    room.set()
    await receiving
    assert peer.outbound.sent == [{"said": 1}, {"said": 2}]


async def test_a_peer_that_makes_no_room_is_a_slow_reader():
    connection, peer, _ = a_connection(Talkative)
    await connection.open(a_request())
    peer.outbound.sent.clear()

    async def no_room(ended):
        return False

    peer.outbound.room = no_room
    await connection.receive("{}")
    assert peer.outbound.sent[:3] == [
        {"said": 1},
        "discarded",
        ("close", 4008, "reading too slowly"),
    ]
    assert connection.phase is Phase.CLOSED


class Asking(ToyProtocol):
    """Asks for what it is told to ask, and cannot make anything of the first answer."""

    def receive(self, frame):
        return [Ask(ReadStatus(), ref) for ref in frame["ask"]]

    def replied(self, ref, result):
        if ref == "bad":
            raise ZeroDivisionError("secret detail")
        return super().replied(ref, result)


async def test_a_fault_of_ours_in_an_answer_to_an_ask_is_logged_and_told_and_the_next_is_asked():
    connection, peer, _ = await opened(Asking)
    with structlog.testing.capture_logs() as lines:
        await connection.receive('{"ask":["bad"]}')
        await connection.receive('{"ask":["good"]}')
        await until(lambda: len(peer.outbound.sent) == 2)
    assert peer.outbound.sent == [
        {"error": "INTERNAL", "ref": "bad", "message": "internal error"},
        {"reply": {"ok": True}, "ref": "good"},
    ]
    assert [line["event"] for line in lines] == ["internal_fault"]


async def test_what_a_closed_connection_would_ask_next_is_not_asked():
    asked = []

    async def carry(ask):
        asked.append(ask.ref)

    asks = Asks()
    asks.put(Ask(ReadStatus(), "one"), carry)
    await until(lambda: asked)
    asks.drop()
    asks.put(Ask(ReadStatus(), "two"), carry)
    await asyncio.sleep(0)
    assert asked == ["one"]
