"""A connection recovers: the answer first, then what is live, as fast as the peer reads."""

from __future__ import annotations

import asyncio
import json

import pytest

from realtime.bus.history import gate as gates
from realtime.bus.history.keeping import Bounds
from realtime.bus.history.memory import Memory
from realtime.bus.hub import Hub
from realtime.bus.outbound import Outbound
from realtime.core import addresses
from realtime.core.effects import Leave, Record, Recover, Send
from realtime.core.events import Event
from realtime.core.history import Gap, Position
from tests.doubles import (
    FakeServices,
    RecordingOutbound,
    ToyProtocol,
    a_connection,
    a_request,
    until,
)

ROOM = addresses.topic("r", "room")


class Topics(ToyProtocol):
    """{"since": [epoch, offset] or null}, {"say": text} and {"leave": …}, on one topic."""

    def receive(self, frame):
        if "since" in frame:
            since = frame["since"]
            return [Recover(ROOM, Position(*since) if since else None, "r1")]
        if "leave" in frame:
            return [Leave(ROOM)]
        return [Record(ROOM, Event("said", {"text": frame["say"]}))]

    def replied(self, ref, result):
        if isinstance(result, Gap):
            return [Send({"ref": ref, "gap": result.reason})]
        told = [Send(self.frame(event)) for event in result.events]
        return [Send({"ref": ref, "recovered": list(result.position)}), *told]

    def deliver(self, event):
        return [Send(self.frame(event))]

    def frame(self, event):
        return {"text": event.data["text"], "offset": event.position and event.position.offset}


class SlowOutbound(RecordingOutbound):
    """Has room for more when the test says that the peer `reads`."""

    def __init__(self):
        super().__init__()
        self.reads = asyncio.Event()
        self.reads.set()
        self.reads_ever = True

    async def room(self, ended):
        await self.reads.wait()
        return self.reads_ever and not ended()


@pytest.fixture
def hub():
    return Hub(history=Memory(Bounds()))


async def arrived(hub):
    connection, peer, _ = a_connection(Topics, hub=hub, services=FakeServices())
    peer.outbound = SlowOutbound()
    await connection.open(a_request())
    await connection.receive('{"connect": true}')
    peer.outbound.sent.clear()
    return connection, peer.outbound


async def say(connection, *texts):
    for text in texts:
        await connection.receive(f'{{"say": "{text}"}}')


async def test_a_peer_gets_where_it_is_then_what_is_said(hub):
    alice, outbound = await arrived(hub)
    await alice.receive('{"since": null}')
    await say(alice, "a")
    epoch = outbound.sent[0]["recovered"][0]
    assert outbound.sent == [
        {"ref": "r1", "recovered": [epoch, 0]},
        {"text": "a", "offset": 1},
    ]


async def test_a_peer_that_was_away_gets_what_it_missed_and_then_what_is_live(hub):
    alice, _ = await arrived(hub)
    bob, outbound = await arrived(hub)
    await bob.receive('{"since": null}')
    epoch = outbound.sent[0]["recovered"][0]
    await bob.receive('{"leave": true}')
    await say(alice, "a", "b")
    await bob.receive(f'{{"since": ["{epoch}", 0]}}')
    await say(alice, "c")
    assert outbound.sent[1:] == [
        {"ref": "r1", "recovered": [epoch, 2]},
        {"text": "a", "offset": 1},
        {"text": "b", "offset": 2},
        {"text": "c", "offset": 3},
    ]


async def test_a_peer_learns_of_a_gap_and_stays(hub):
    alice, outbound = await arrived(hub)
    await alice.receive('{"since": ["ffffffffffffffff", 3]}')
    await say(alice, "a")
    assert outbound.sent == [{"ref": "r1", "gap": "epoch"}, {"text": "a", "offset": 1}]


async def test_a_replay_waits_for_a_peer_that_reads_slowly_and_live_events_wait_behind_it(hub):
    alice, _ = await arrived(hub)
    bob, outbound = await arrived(hub)
    epoch = (await hub.since(ROOM, None)).position.epoch
    await say(alice, "a", "b")
    outbound.reads.clear()
    asking = asyncio.create_task(bob.receive(f'{{"since": ["{epoch}", 0]}}'))
    await until(lambda: outbound.sent)
    await say(alice, "c")
    assert len(outbound.sent) == 1, "the answer, and nothing more"
    outbound.reads.set()
    await asking
    assert [frame.get("text") for frame in outbound.sent] == [None, "a", "b", "c"]


async def test_a_peer_that_reads_nothing_of_its_replay_is_closed(hub):
    alice, outbound = await arrived(hub)
    outbound.reads_ever = False
    await alice.receive('{"since": null}')
    assert outbound.sent[-1][:2] == ("close", 4008)
    before = list(outbound.sent)
    hub.record(ROOM, Event("said", {"text": "a"}))
    assert outbound.sent == before


async def test_a_peer_behind_which_too_much_waits_is_closed(hub, monkeypatch):
    monkeypatch.setattr(gates, "MAX_HELD", 2)
    alice, outbound = await arrived(hub)
    outbound.reads.clear()
    asking = asyncio.create_task(alice.receive('{"since": null}'))
    await until(lambda: outbound.sent)
    for text in "abc":
        hub.record(ROOM, Event("said", {"text": text}))
    outbound.reads.set()
    await asking
    assert outbound.sent[-1][:2] == ("close", 4008)


class Link:
    """A socket with a small buffer, that is emptied when the loop turns."""

    def __init__(self):
        self.wrote = []
        self.waits = 0

    def write_text(self, text):
        self.wrote.append(json.loads(text))
        self.waits += len(text)
        asyncio.get_running_loop().call_soon(self._read, len(text))

    def _read(self, size):
        self.waits -= size

    def buffered(self):
        return self.waits

    def close(self, code, reason):
        self.wrote.append(("close", code))


async def test_what_waits_behind_a_replay_goes_out_as_fast_as_the_peer_reads(hub):
    link, slow = Link(), []
    connection, peer, _ = a_connection(Topics, hub=hub, services=FakeServices())
    peer.outbound = Outbound(
        None, link, max_bytes=500, max_frames=100, on_slow=lambda: slow.append(True)
    )
    await connection.open(a_request())
    await connection.receive('{"connect": true}')
    link.waits += 400  # its answer waits for room
    asking = asyncio.create_task(connection.receive('{"since": null}'))
    await until(lambda: hub.hears([ROOM]) and len(link.wrote) > 1)
    for number in range(100):
        hub.record(ROOM, Event("said", {"text": str(number)}))
    link.waits -= 400
    await asking
    hub.record(ROOM, Event("said", {"text": "100"}))
    assert [frame.get("offset") for frame in link.wrote[2:]] == list(range(1, 102))
    assert slow == []


async def test_a_peer_that_ends_while_it_recovers_leaves_nothing_behind(hub):
    alice, outbound = await arrived(hub)
    outbound.reads.clear()
    asking = asyncio.create_task(alice.receive('{"since": null}'))
    await until(lambda: outbound.sent)
    await alice.closed(1001)
    outbound.reads.set()
    await asking
    assert not hub.hears([ROOM])


async def test_a_failing_answer_does_not_leave_the_peer_without_ears(hub, monkeypatch):
    alice, outbound = await arrived(hub)

    def broken(ref, result):
        raise ZeroDivisionError

    monkeypatch.setattr(Topics, "replied", lambda self, ref, result: broken(ref, result))
    await alice.receive('{"since": null}')
    assert outbound.sent[-1]["error"] == "INTERNAL"
    await say(alice, "a")
    assert outbound.sent[-1]["text"] == "a"
