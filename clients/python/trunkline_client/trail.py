"""Where a numbered history was last seen, and what is missing.

Source: docs/decisions/0010-recovery.md of the gateway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# What a client finds out by itself; the other reasons are the server's.
EPOCH = "epoch"  # other numbers have begun
JUMP = "jump"
UNNUMBERED = "unnumbered"


@dataclass(frozen=True)
class Position:
    """The last message that somebody has."""

    epoch: str
    offset: int


class Trail:
    """Of one topic or group. Each method that answers a text answers the reason of a gap, or ""."""

    def __init__(self) -> None:
        self.asked = False  # and not answered yet
        self._dense = True  # no filter leaves anything out
        self._last: Position | None = None
        self._end: Position | None = None  # of the replay that is under way
        self._known = False  # there was an answer before
        self._fresh = False  # asked from now on
        self._unsure = False  # something came without a number

    def ask(self, *, dense: bool = True) -> Position | None:
        """What a new connection asks from; None: from now on."""
        self._dense = dense
        self.asked = True
        self._end = None
        self._fresh = self._last is None
        return self._last

    def answered(self, answer: Mapping[str, Any]) -> str:
        """Where the history is; what was missed follows. Unasked: the server has looked again."""
        here = _position(answer)
        whole = answer.get("recovered") is True and not self._fresh
        if whole:
            self._end = here
        else:
            self._last = here
        # Who asks for the first time has missed nothing.
        gap = not whole and (self._known or not self.asked)
        self._known = True
        self.asked = self._fresh = False
        return str(answer.get("reason", UNNUMBERED)) if gap else ""

    def settle(self) -> None:
        """All of the replay has come: its end counts, also where filters have left it out."""
        if self._end is not None and _is_after(self._end, self._last):
            self._last = self._end
        self._end = None

    def heard(self, message: Mapping[str, Any]) -> tuple[bool, str]:
        """Whether a message is new, and the gap before it."""
        last, here = self._last, _position({"epoch": self._epoch, **message})
        if here is None:
            gap = UNNUMBERED if last is not None and not self._unsure else ""
            self._unsure = True
            return True, gap
        if last is not None and not _is_after(here, last):
            if here.epoch == last.epoch:
                return False, ""
            gap = EPOCH
        else:
            gap = JUMP if last and self._dense and here.offset > last.offset + 1 else ""
        self._last, self._unsure = here, False
        return True, gap

    @property
    def _epoch(self) -> str | None:
        return self._last.epoch if self._last is not None else None


def _position(said: Mapping[str, Any]) -> Position | None:
    epoch, offset = said.get("epoch"), said.get("offset")
    if isinstance(epoch, str) and epoch and type(offset) is int:
        return Position(epoch, offset)
    return None


def _is_after(one: Position, other: Position | None) -> bool:
    """In the same epoch."""
    return other is not None and one.epoch == other.epoch and one.offset > other.offset
