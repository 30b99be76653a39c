"""Gate: joins what is replayed with what is said meanwhile, without a gap and without a double."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from realtime.core.events import Event
from realtime.core.history import EPOCH, MISSED, OVERRUN, Gap, Position, Recovered

Member = Callable[[Event], None]

# What is held while a peer recovers: so many events, together so large; one event however large.
MAX_HELD = 2_000
MAX_HELD_BYTES = 1024 * 1024


class Gate:
    """Stands at an address in the place of `member`, as whom it passes for everyone who looks.

    Holds what is said live from the moment of joining; `settle` compares it with what was
    recovered; `release` lets it go, without what was replayed. Once `open` it lets everything pass,
    except what the bus brings later than the replay did, and calls `done` when that has come to its
    end.
    """

    __slots__ = ("_after", "_bytes", "_done", "_held", "_open", "_overrun", "member")

    def __init__(self, member: Member, done: Callable[[Gate], None]) -> None:
        self.member = member
        self._done = done
        self._held: deque[Event] = deque()
        self._bytes = 0
        self._overrun = False
        self._open = False
        self._after: Position | None = None

    def __eq__(self, other: object) -> bool:
        return self.member == (other.member if isinstance(other, Gate) else other)

    def __hash__(self) -> int:
        return hash(self.member)

    @property
    def overrun(self) -> bool:
        """Whether more was said than can be held."""
        return self._overrun

    def __call__(self, event: Event) -> None:
        if self._open:
            self._pass(event)
            return
        self._held.append(event)
        self._bytes += event.measured()
        while len(self._held) > 1 and (len(self._held) > MAX_HELD or self._bytes > MAX_HELD_BYTES):
            self._next()
            self._overrun = True

    def _next(self) -> Event:
        event = self._held.popleft()
        self._bytes -= event.size
        return event

    def settle(self, outcome: Recovered | Gap) -> Recovered | Gap:
        """`outcome`, or the gap that it is together with what is held."""
        self._after = outcome.position
        hole = self._hole(outcome.position)
        if not hole:
            return outcome
        numbered = [event.position for event in self._held if event.position is not None]
        self._held = deque(event for event in self._held if event.position is None)
        self._bytes = sum(event.size for event in self._held)
        self._after, self._overrun = None, False
        reason = outcome.reason if isinstance(outcome, Gap) else hole
        return Gap(reason, numbered[-1] if numbered else None)

    def _hole(self, last: Position | None) -> str:
        """Why what is held does not follow on `last`; "" when it does."""
        if self._overrun:
            return OVERRUN
        for event in self._held:
            at = event.position
            if at is None or last is None:
                continue
            if at.epoch != last.epoch:
                return EPOCH
            if at.offset > last.offset + 1:
                return MISSED
            last = max(last, at)
        return ""

    def release(self) -> Iterator[None]:
        """Let go what is held, one by one; what is said meanwhile comes behind it."""
        while self._held:
            self._pass(self._next())
            yield

    def open(self) -> None:
        """Let go what is left, and then whatever comes."""
        self._open = True
        if self._after is None or not self._after.offset:
            self._done(self)  # nothing was replayed that could come again
        for _ in self.release():
            pass

    def _pass(self, event: Event) -> None:
        at, after = event.position, self._after
        if at is None or after is None or at.epoch != after.epoch:
            self.member(event)
        elif at.offset >= after.offset:
            self._after = None  # the bus has caught up
            if self._open:
                self._done(self)  # from here on nobody stands in between
            if at != after:
                self.member(event)
