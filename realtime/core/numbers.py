"""Numbers: how far one peer has got with the history of an address that it asked to recover.

Whatever is missing between two messages is noticed here, and recovered or told of as a gap before
anything else is said: so a peer need not count, and one with filters could not. See
docs/decisions/0010-recovery.md.
"""

from __future__ import annotations

from typing import Any

from realtime.core.events import Event
from realtime.core.history import MISSED, Gap, Position, Recovered

MAX_EPOCH = 64  # characters of one that somebody claims to have
MAX_OFFSET = 2**53


class Numbers:
    """`last` is the newest message that the peer has, or knows that it does not get; None: unknown.

    `lost`: something was missed, and nothing numbered passes before it is recovered.
    """

    __slots__ = ("_asked", "last", "lost")

    def __init__(self) -> None:
        self.last: Position | None = None
        self.lost = False
        self._asked = False

    def ask(self, since: Position | None) -> None:
        """The peer says what it has itself, and gets an answer whatever it is."""
        self.last, self.lost, self._asked = since, False, True

    def passes(self, event: Event) -> bool:
        """Whether an event from the bus follows on what the peer has.

        One without a number does, unless it is late: about that time the peer knows of a gap.
        """
        at, last = event.position, self.last
        if at is None:
            return not event.late
        if self.lost:
            return False  # the replay will bring it
        if last is not None:
            if at.epoch == last.epoch and at.offset <= last.offset:
                return False
            self.lost = at != (last.epoch, last.offset + 1)
            if self.lost:
                return False
        self.last = at
        return True

    def settle(self, outcome: Recovered | Gap) -> Recovered | Gap | None:
        """What the peer has to be told of a recovery; None: it did not ask, and missed nothing."""
        asked, before = self._asked, self.last
        self.last, self._asked = outcome.position, False
        if asked or isinstance(outcome, Gap):
            return outcome
        if before is None:  # from when on it has missed something, nobody can say
            return Gap(MISSED, outcome.position)
        return outcome if outcome.events else None


def position(epoch: Any, offset: Any) -> Position | None:
    """What a peer claims to have; None: that cannot be one."""
    if not isinstance(epoch, str) or not 0 < len(epoch) <= MAX_EPOCH:
        return None
    if type(offset) is not int or not 0 <= offset <= MAX_OFFSET:
        return None
    return Position(epoch, offset)


def told(outcome: Recovered | Gap) -> dict[str, Any]:
    """The fields of an answer: `recovered`, the `reason` of a gap, and where the peer is now."""
    fields: dict[str, Any] = {"recovered": isinstance(outcome, Recovered)}
    if isinstance(outcome, Gap):
        fields["reason"] = outcome.reason
    if outcome.position is not None:
        fields.update(outcome.position._asdict())
    return fields
