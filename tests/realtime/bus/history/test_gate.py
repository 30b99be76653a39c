"""Replay and live become one, whatever comes when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from realtime.bus.history import gate as gates
from realtime.bus.history.gate import Gate
from realtime.bus.hub import Hub
from realtime.core import addresses
from realtime.core.events import Event
from realtime.core.history import AWAY, EPOCH, MISSED, OVERRUN, TRIMMED, Gap, Position, Recovered

TEAM, OTHER = addresses.group("r", "team"), addresses.group("r", "other")


def said(offset, epoch="e"):
    return Event("said", {"n": offset}, position=Position(epoch, offset) if offset else None)


def at(offset, epoch="e"):
    return Position(epoch, offset)


class Peer:
    def __init__(self):
        self.heard = []
        self.stepped_aside = 0
        self.gate = Gate(self.hear, self.step_aside)

    def hear(self, event):
        self.heard.append(event.position and event.position.offset)

    def step_aside(self, gate):
        self.stepped_aside += 1


def test_what_is_said_while_a_peer_recovers_is_heard_after_the_replay_and_once():
    peer = Peer()
    for offset in (4, 5, 6):
        peer.gate(said(offset))
    assert peer.heard == []
    outcome = peer.gate.settle(Recovered([said(4), said(5)], at(5)))
    assert isinstance(outcome, Recovered)
    peer.gate.open()
    assert peer.heard == [6]
    assert peer.stepped_aside == 1


def test_what_the_bus_brings_later_than_the_replay_did_is_not_heard_again():
    peer = Peer()
    peer.gate.settle(Recovered([said(4), said(5)], at(5)))
    peer.gate.open()
    for offset in (4, 5):
        peer.gate(said(offset))
    assert peer.heard == []
    assert peer.stepped_aside == 1
    peer.gate(said(6))
    assert peer.heard == [6]


def test_what_is_said_while_the_held_goes_out_comes_behind_it():
    peer = Peer()
    peer.gate(said(5))
    peer.gate(said(6))
    peer.gate.settle(Recovered([said(4), said(5)], at(5)))
    for number, _ in enumerate(peer.gate.release()):
        if not number:
            peer.gate(said(7))
            assert peer.stepped_aside == 0, "it would be overtaken"
    peer.gate.open()
    peer.gate(said(8))
    assert peer.heard == [6, 7, 8]
    assert peer.stepped_aside == 1


def test_a_gate_steps_aside_at_once_where_nothing_was_ever_said():
    peer = Peer()
    peer.gate.settle(Recovered([], at(0)))
    peer.gate.open()
    assert peer.stepped_aside == 1


def test_a_hole_between_the_replay_and_what_is_live_is_told():
    peer = Peer()
    peer.gate(said(7))
    peer.gate(said(8))
    assert peer.gate.settle(Recovered([said(5)], at(5))) == Gap(MISSED, at(8))
    peer.gate.open()
    peer.gate(said(9))
    assert peer.heard == [9], "what lies before the told position is in the gap"


def test_an_epoch_that_ends_while_a_peer_recovers_is_told():
    peer = Peer()
    peer.gate(said(1, "new"))
    assert peer.gate.settle(Recovered([said(5)], at(5))) == Gap(EPOCH, at(1, "new"))


def test_more_than_can_be_held_is_told(monkeypatch):
    monkeypatch.setattr(gates, "MAX_HELD", 3)
    peer = Peer()
    for offset in range(1, 6):
        peer.gate(said(offset))
    assert peer.gate.overrun
    assert peer.gate.settle(Recovered([], at(0))) == Gap(OVERRUN, at(5))


def test_what_is_held_is_bounded_in_bytes(monkeypatch):
    monkeypatch.setattr(gates, "MAX_HELD_BYTES", 1000)
    peer = Peer()
    for offset in range(1, 31):
        event = said(offset)
        event.data["text"] = "x" * 80
        peer.gate(event)
        assert sum(event.measured() for event in peer.gate._held) <= 1000
    assert peer.gate.settle(Recovered([], at(0))) == Gap(OVERRUN, at(30))


def test_one_message_is_held_however_large(monkeypatch):
    monkeypatch.setattr(gates, "MAX_HELD_BYTES", 1000)
    peer, large = Peer(), said(1)
    large.data["text"] = "x" * 2000
    peer.gate(large)
    assert isinstance(peer.gate.settle(Recovered([], at(0))), Recovered)
    peer.gate.open()
    assert peer.heard == [1]
    assert not peer.gate.overrun


def test_after_a_gap_the_peer_goes_on_behind_the_told_position():
    peer = Peer()
    peer.gate(said(5))
    peer.gate(said(6))
    assert peer.gate.settle(Gap(TRIMMED, at(5))) == Gap(TRIMMED, at(5))
    peer.gate.open()
    assert peer.heard == [6]


def test_what_has_no_number_is_always_heard():
    peer = Peer()
    peer.gate(said(0))
    peer.gate.settle(Gap(AWAY))
    peer.gate.open()
    peer.gate(said(0))
    assert peer.heard == [None, None]


async def test_a_gate_passes_for_its_member_at_the_hub():
    hub, peer = Hub(), Peer()
    await hub.join(TEAM, peer.hear)
    await hub.join(OTHER, peer.hear)
    _, gate = await hub.recover(TEAM, peer.hear, None)
    hub.deliver([OTHER, TEAM], said(0))
    hub.deliver([TEAM, OTHER], said(0))
    gate.open()
    assert peer.heard == [None, None], "once each, by whichever way"
    await hub.leave(TEAM, peer.hear)
    hub.deliver([TEAM], said(0))
    assert len(peer.heard) == 2


async def test_who_leaves_while_recovering_hears_nothing_more():
    hub, peer = Hub(), Peer()
    _, gate = await hub.recover(TEAM, peer.hear, None)
    await hub.leave(TEAM, peer.hear)
    gate.open()
    hub.deliver([TEAM], said(0))
    assert peer.heard == []
    assert not hub.hears([TEAM])


@given(
    total=st.integers(0, 30),
    joined=st.integers(0, 30),
    read=st.integers(0, 30),
    lag=st.integers(0, 30),
)
def test_every_message_is_heard_once_and_in_order(total, joined, read, lag):
    """`joined`, `read`: how much had been said when the peer joined, and when the history was read;
    `lag`: how many messages the bus was behind, all the time."""
    joined = min(joined, total)
    read = min(max(read, joined), total)
    peer = Peer()
    came = list(range(max(1, joined - lag + 1), total + 1))  # what the bus brings, in its order
    before = [offset for offset in came if offset <= read - lag]
    for offset in before:
        peer.gate(said(offset))
    outcome = peer.gate.settle(Recovered([said(n) for n in range(1, read + 1)], at(read)))
    assert isinstance(outcome, Recovered)
    for event in outcome.events:
        peer.hear(event)
    peer.gate.open()
    for offset in came[len(before) :]:
        peer.gate(said(offset))
    assert peer.heard == list(range(1, total + 1))
