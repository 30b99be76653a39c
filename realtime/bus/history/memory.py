"""Memory: the history of a single process, gone with it."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec

from realtime.bus.history.keeping import Bounds, Hears, Placed, Tell, new_epoch
from realtime.core.addresses import Address
from realtime.core.events import Event
from realtime.core.history import EPOCH, EXPIRED, FUTURE, TRIMMED, Gap, Position, Recovered

MAX_ADDRESSES = 10_000

# Bytes, not objects: a tenth of the memory, and nobody can change what was said.
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, Any]).decode


@dataclass(slots=True)
class _Kept:
    """One address: its last offset, and the newest messages with the moments they were said."""

    touched_s: float
    epoch: str = field(default_factory=new_epoch)
    offset: int = 0
    size: int = 0  # in bytes
    why: str = EXPIRED  # the last one was dropped, or not kept
    asked: bool = False  # by somebody: else nothing is kept
    said: deque[tuple[float, bytes]] = field(default_factory=deque)

    def trim(self, bounds: Bounds, now_s: float) -> int:
        """Drop what is over `bounds`; how many bytes that was."""
        before = self.size
        while self.said:
            old = now_s - self.said[0][0] > bounds.ttl_s
            if not old and len(self.said) <= bounds.size and self.size <= bounds.max_bytes:
                break
            self.size -= len(self.said.popleft()[1])
            self.why = EXPIRED if old else TRIMMED
        return before - self.size


class Memory:
    """Bounded by `bounds` and in the number of addresses: whatever is used least recently goes
    first, and its next message begins a new epoch. `clock`: monotonic seconds.
    """

    def __init__(
        self,
        bounds: Bounds,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_addresses: int = MAX_ADDRESSES,
    ) -> None:
        self._bounds = bounds
        self._clock = clock
        self._max_addresses = max_addresses
        self._kept: OrderedDict[Address, _Kept] = OrderedDict()  # least recently used first
        self.total_bytes = 0

    def attach(self, deliver: Tell, others: Tell, hears: Hears) -> None:
        self._deliver = deliver

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def record(
        self, address: Address, event: Event, placed: Placed | None = None, *, once: str = ""
    ) -> None:
        event.position = self.append(address, event)
        self._deliver([address], event)
        if placed is not None:
            placed(event.position)

    def append(self, address: Address, event: Event) -> Position:
        now_s = self._clock()
        kept = self._at(address, now_s)
        kept.offset += 1
        if kept.asked:
            packed = _encode(event.pack())
            kept.said.append((now_s, packed))
            kept.size += len(packed)
            self.total_bytes += len(packed)
            self.total_bytes -= kept.trim(self._bounds, now_s)
        position = Position(kept.epoch, kept.offset)
        self._forget(now_s)
        return position

    def arrived(self, message: dict[str, Any]) -> None:
        raise AssertionError("there is no bus in a process that keeps its history in memory")

    async def since(self, address: Address, position: Position | None) -> Recovered | Gap:
        now_s = self._clock()
        kept = self._at(address, now_s)
        kept.asked = True
        self._forget(now_s)
        self.total_bytes -= kept.trim(self._bounds, now_s)
        here = Position(kept.epoch, kept.offset)
        if position is None:
            return Recovered((), here)
        missed = kept.offset - position.offset
        if position.epoch != kept.epoch:
            return Gap(EPOCH, here)
        if missed < 0:
            return Gap(FUTURE, here)
        if missed > len(kept.said):
            return Gap(kept.why, here)
        wanted = islice(kept.said, len(kept.said) - missed, None)
        events = [Event.unpack(_decode(packed)) for _, packed in wanted]
        for offset, event in enumerate(events, position.offset + 1):
            event.position = Position(kept.epoch, offset)
        return Recovered(events, here)

    def _at(self, address: Address, now_s: float) -> _Kept:
        kept = self._kept.get(address)
        if kept is None or now_s - kept.touched_s > self._bounds.epoch_s:
            if kept is not None:
                self.total_bytes -= kept.size
            kept = self._kept[address] = _Kept(now_s)
        kept.touched_s = now_s
        self._kept.move_to_end(address)
        return kept

    def _forget(self, now_s: float) -> None:
        """What is over the bounds of all, and one or two that have long been idle."""
        for _ in range(2):
            oldest = next(iter(self._kept.values()), None)
            if oldest is None or now_s - oldest.touched_s <= self._bounds.epoch_s:
                break
            self._drop()
        while len(self._kept) > self._max_addresses or self.total_bytes > self._bounds.total_bytes:
            self._drop()

    def _drop(self) -> None:
        _, dropped = self._kept.popitem(last=False)
        self.total_bytes -= dropped.size
