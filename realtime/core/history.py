"""What a subscriber missed: a place in the history of an address, and what became of asking for it.

Offsets of one address and epoch are 1, 2, 3, … without a gap. An epoch is random, and a new one
begins whenever the store cannot vouch for the older numbers: so a subscriber that knows both ends
with all that was said, in order, or with an explicit gap. See docs/decisions/0010-recovery.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from realtime.core.events import Event

# Why a replay would not be whole; the texts are shown to peers.
OFF = "off"
AWAY = "away"
EPOCH = "epoch"
FUTURE = "future"
TRIMMED = "trimmed"
EXPIRED = "expired"
MISSED = "missed"
OVERRUN = "overrun"
REASONS = {
    OFF: "no history is kept",
    AWAY: "the history cannot be read now",
    EPOCH: "the history of that epoch is gone",
    FUTURE: "no message has had that offset yet",
    TRIMMED: "more was missed than is kept",
    EXPIRED: "what was missed is too old",
    MISSED: "live messages were lost meanwhile",
    OVERRUN: "too much was said meanwhile",
}


class Position(NamedTuple):
    """The last message that somebody has; offset 0 is before the first."""

    epoch: str
    offset: int


@dataclass(frozen=True, slots=True)
class Recovered:
    """All that was said after the asked position, oldest first; now they are at `position`."""

    events: Sequence[Event]
    position: Position


@dataclass(frozen=True, slots=True)
class Gap:
    """Nothing is replayed, because it would not be whole; live messages go on after `position`.

    `reason` is a key of REASONS. Without a position nothing is numbered at present.
    """

    reason: str
    position: Position | None = None
