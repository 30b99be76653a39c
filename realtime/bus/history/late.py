"""Late: what Redis has published and the bus does not bring is said here with its number: an ear
that has gone deaf must not silence a process for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from realtime.bus.history.keeping import Placed
from realtime.bus.history.wire import TICKS
from realtime.core.addresses import Address
from realtime.core.events import Event
from realtime.core.history import Position

MAX_FLOORS = 10_000


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
        self._floors: dict[Address, Position] = {}  # said here before the bus brought it

    def echo(self) -> None:
        self._echoes += 1

    def due(self, pending: Mapping[int, Pending]) -> list[tuple[int, Address, Position]]:
        """What has waited too long; asked once a tick."""
        patience = TICKS if self._echoes == self._before else 5 * TICKS
        self._before = self._echoes
        due = []
        for number, one in pending.items():
            if one.position is not None:
                one.waits += 1
                if one.waits > patience:
                    due.append((number, one.address, one.position))
        return due

    def said(self, address: Address, position: Position) -> None:
        self._floors[address] = position
        if len(self._floors) > MAX_FLOORS:
            del self._floors[next(iter(self._floors))]

    def has_passed(self, address: Address, position: Position) -> bool:
        """Whether what follows it has been said here already; nobody gets it afterwards."""
        floor = self._floors.get(address)
        if floor is None:
            return False
        if floor.epoch == position.epoch and position.offset <= floor.offset:
            return True
        del self._floors[address]
        return False
