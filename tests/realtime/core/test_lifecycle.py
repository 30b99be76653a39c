from __future__ import annotations

import itertools

import pytest

from realtime.core.lifecycle import TRANSITIONS, Phase, Signal, advance


@pytest.mark.parametrize(("phase", "signal"), list(itertools.product(Phase, Signal)))
def test_every_pair_is_a_row_or_our_bug(phase, signal):
    if (phase, signal) in TRANSITIONS:
        assert advance(phase, signal) is TRANSITIONS[phase, signal]
    else:
        with pytest.raises(AssertionError, match=signal.name):
            advance(phase, signal)


def test_nobody_is_admitted_before_being_accepted():
    assert (Phase.CONNECTING, Signal.ADMIT) not in TRANSITIONS


def test_closed_is_final():
    assert {after for (before, _), after in TRANSITIONS.items() if before is Phase.CLOSED} == {
        Phase.CLOSED
    }
