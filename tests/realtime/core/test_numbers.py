"""Numbers: in order, each once, whole, or an explicit gap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core import numbers
from realtime.core.events import Event
from realtime.core.history import EPOCH, MISSED, Gap, Position, Recovered
from realtime.core.numbers import Numbers


def event(epoch, offset):
    return Event("said", position=Position(epoch, offset))


def following(epoch="e", offset=3):
    known = Numbers()
    known.ask(None)
    known.settle(Recovered((), Position(epoch, offset)))
    return known


def test_what_follows_passes_and_what_the_peer_has_does_not():
    known = following()
    passed = [offset for offset in (2, 3, 4, 4, 3, 5, 6, 5) if known.passes(event("e", offset))]
    assert passed == [4, 5, 6]
    assert not known.lost


@pytest.mark.parametrize("jump", [event("e", 5), event("f", 1)])
def test_a_jump_or_another_epoch_is_a_loss_and_nothing_passes_before_it_is_recovered(jump):
    known = following()
    assert not known.passes(jump)
    assert known.lost
    assert known.last == Position("e", 3)
    assert not known.passes(event("e", 4)), "the replay brings it"
    assert known.passes(Event("said")), "it is in no history"
    assert not known.passes(Event("said", late=True)), "others heard it long ago"


def test_a_recovery_that_the_peer_has_not_asked_for_is_told_if_something_was_missed():
    known = following()
    here = Position("e", 3)
    assert known.settle(Recovered((), here)) is None
    missed = Recovered([event("e", 4)], Position("e", 4))
    assert known.settle(missed) == missed
    assert known.last == Position("e", 4)
    gap = Gap(EPOCH, Position("f", 7))
    assert known.settle(gap) == gap
    assert known.passes(event("f", 8))


def test_from_an_unknown_place_there_is_no_whole_recovery_but_the_first():
    known = Numbers()
    known.ask(None)
    first = Recovered((), Position("e", 3))
    assert known.settle(first) == first
    known.settle(Gap("away"))
    assert known.last is None
    assert known.settle(Recovered((), Position("f", 1))) == Gap(MISSED, Position("f", 1))


def test_without_a_place_the_first_number_is_where_it_begins():
    known = following()
    known.settle(Gap("away"))
    assert known.passes(event("f", 9))
    assert known.passes(event("f", 10))


@pytest.mark.parametrize(
    ("epoch", "offset", "ok"),
    [
        ("e", 0, True),
        ("e" * 64, 2**53, True),
        ("", 0, False),
        ("e" * 65, 0, False),
        ("e", -1, False),
        ("e", 2**53 + 1, False),
        ("e", True, False),
        ("e", 1.0, False),
        ("e", "1", False),
        ("e", None, False),
        (None, 1, False),
        (7, 1, False),
    ],
)
def test_what_a_peer_may_claim_to_have(epoch, offset, ok):
    assert numbers.position(epoch, offset) == (Position(epoch, offset) if ok else None)


@given(st.lists(st.tuples(st.sampled_from("ef"), st.integers(1, 9)), max_size=60))
def test_whatever_the_bus_brings_what_passes_has_no_hole_and_no_double(brought):
    known, got = following("e", 0), [Position("e", 0)]
    for epoch, offset in brought:
        if known.passes(event(epoch, offset)):
            got.append(Position(epoch, offset))
    assert got == [Position("e", number) for number in range(len(got))]
