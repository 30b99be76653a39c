"""Late: what Redis has published and the bus does not bring is said here with its number: an ear
that has gone deaf must not silence a process for itself. Nothing is said behind what follows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from realtime.bus.history.keeping import Placed
from realtime.bus.history.wire import TICKS
from realtime.core.addresses import Address
from realtime.core.events import Event
from realtime.core.history import Position

MAX_KNOWN = 10_000  # addresses


@dataclass(slots=True)
class Pending:
    """A message of this process that has not come back on the bus."""

    address: Address
    event: Event
    placed: Placed | None
    channel: str
    packed: bytes
    once: str
    position: Position | None = None  # once Redis has answered
    waits: int = 0  # ticks since then


class Late:
    def __init__(self) -> None:
        self._echoes = self._before = 0  # of own messages on the bus; at the last tick
        self._newest: dict[Address, tuple[Position, str]] = {}  # said here; the epoch before

    def echo(self) -> None:
        self._echoes += 1

    def due(self, pending: Mapping[int, Pending]) -> list[tuple[int, Position]]:
        """What has waited too long; asked once a tick."""
        patience = TICKS if self._echoes == self._before else 5 * TICKS
        self._before = self._echoes
        due = []
        for number, one in pending.items():
            if one.position is not None:
                one.waits += 1
                if one.waits > patience:
                    due.append((number, one.position))
        return due

    def said(self, address: Address, position: Position) -> None:
        newest, before = self._newest.get(address, (position, ""))
        if position.epoch != newest.epoch:
            before = newest.epoch
        self._newest[address] = (position, before)
        if len(self._newest) > MAX_KNOWN:
            del self._newest[next(iter(self._newest))]

    def ends(self, address: Address, epoch: str) -> bool:
        """Whether `epoch` begins there after another one."""
        return address in self._newest and self._newest[address][0].epoch != epoch

    def has_passed(self, address: Address, position: Position) -> bool:
        """Whether this or what follows it has been said here already; nobody gets it afterwards."""
        newest, before = self._newest.get(address, (None, ""))
        if newest is None or newest.epoch != position.epoch:
            return position.epoch == before
        return position.offset <= newest.offset
