"""The phases of one connection, as a table."""

from __future__ import annotations

from enum import Enum, auto


class Phase(Enum):
    CONNECTING = auto()  # the upgrade request is being judged
    GREETING = auto()  # accepted; nobody yet. Waiting for pairing approval is still GREETING
    OPEN = auto()  # somebody proved to be someone
    CLOSED = auto()


class Signal(Enum):
    ACCEPT = auto()
    ADMIT = auto()
    CLOSE = auto()


TRANSITIONS: dict[tuple[Phase, Signal], Phase] = {
    (Phase.CONNECTING, Signal.ACCEPT): Phase.GREETING,
    (Phase.GREETING, Signal.ADMIT): Phase.OPEN,
    (Phase.OPEN, Signal.ADMIT): Phase.OPEN,  # 001 re-authenticates on the same socket
    (Phase.CONNECTING, Signal.CLOSE): Phase.CLOSED,
    (Phase.GREETING, Signal.CLOSE): Phase.CLOSED,
    (Phase.OPEN, Signal.CLOSE): Phase.CLOSED,
    (Phase.CLOSED, Signal.CLOSE): Phase.CLOSED,
}


def advance(phase: Phase, signal: Signal) -> Phase:
    """The next phase. A missing cell is our bug, never the peer's: AssertionError."""
    try:
        return TRANSITIONS[phase, signal]
    except KeyError:
        raise AssertionError(f"{signal.name} is not possible while {phase.name}") from None
