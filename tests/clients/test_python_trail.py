"""What a Python client makes of numbers: which messages are new, and where something is missing.

Source: docs/decisions/0010-recovery.md.
"""

from __future__ import annotations

import pytest

from trunkline_client.trail import Position, Trail


def at(offset, epoch="e"):
    return {"epoch": epoch, "offset": offset}


def whole(offset, epoch="e"):
    return {"recovered": True, **at(offset, epoch)}


def gap(reason, **position):
    return {"recovered": False, "reason": reason, **position}


def follow(trail, *said):
    """What is told of each message or answer: the reason of a gap, "new" or "again"."""
    told = []
    for one in said:
        if "recovered" in one:
            reason, new = trail.answered(one), False
        else:
            new, reason = trail.heard(one)
        told.append(" ".join(filter(None, [reason, "new" if new else ""])) or "again")
    return told


def known(offset=2):
    """A trail that has heard up to `offset` and asks again."""
    trail = Trail()
    assert trail.ask() is None
    assert trail.answered(whole(offset)) == ""
    assert trail.ask() == Position("e", offset)
    return trail


def test_it_begins_from_now_on_and_asks_from_what_it_has_heard():
    trail = Trail()
    assert trail.ask() is None
    assert follow(trail, whole(7), at(8), {"offset": 9}) == ["again", "new", "new"]
    assert trail.ask() == Position("e", 9)


@pytest.mark.parametrize("answer", [whole(5), gap("off"), gap("away", **at(5)), {}])
def test_who_asks_for_the_first_time_has_missed_nothing(answer):
    trail = Trail()
    trail.ask()
    assert trail.answered(answer) == ""


def test_what_was_seen_is_dropped_and_a_replay_is_no_jump():
    said = [whole(5), at(2), at(3), at(4), at(4), at(5), at(6)]
    assert follow(known(), *said) == ["again", "again", "new", "new", "again", "new", "new"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([whole(2), at(4), at(5)], ["again", "jump new", "new"]),
        ([whole(2), at(3, "f"), at(4, "f")], ["again", "epoch new", "new"]),
        ([whole(2), {}, {}, at(1, "f")], ["again", "unnumbered new", "new", "epoch new"]),
        ([gap("trimmed", **at(9)), at(10)], ["trimmed", "new"]),
        ([gap("epoch", **at(0, "f")), at(1, "f")], ["epoch", "new"]),
        ([gap("away"), {}, {}], ["away", "new", "new"]),
        ([{}], ["unnumbered new"]),
        # The server has looked again by itself.
        ([whole(2), at(3), whole(5), at(4), at(5)], ["again", "new", "again", "new", "new"]),
        ([whole(2), gap("missed", **at(8)), at(9)], ["again", "missed", "new"]),
    ],
)
def test_every_hole_is_told_of_once(said, told):
    assert follow(known(), *said) == told


def test_after_a_gap_without_a_place_the_next_connection_tells_of_another():
    trail = known()
    assert trail.answered(gap("away")) == "away"
    assert trail.ask() is None
    assert trail.answered(whole(40)) == "unnumbered"
    assert follow(trail, at(41)) == ["new"]


def test_with_a_filter_numbers_skip_and_the_end_of_the_replay_counts():
    trail = known()
    assert trail.ask(dense=False) == Position("e", 2)
    assert follow(trail, whole(9), at(4)) == ["again", "new"]
    assert trail.ask(dense=False) == Position("e", 4), "the replay was cut off"
    assert follow(trail, whole(9), at(7)) == ["again", "new"]
    trail.settle()
    assert follow(trail, at(12)) == ["new"]
    assert trail.ask(dense=False) == Position("e", 12)
    trail.answered(whole(20))
    trail.settle()
    assert trail.ask(dense=False) == Position("e", 20), "nothing of it fitted"
