"""Hub: this process's members of each address, and its one line to the other processes.

An event published here reaches the members in this process at once, and those of every other
process through one Redis subscription per address and process. Delivery is a plain loop over bound
methods: no task, no channel and no encoding per member. At most once: what must not be lost is a
row first (`announce`).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from realtime import metrics
from realtime.bus.history.gate import Gate
from realtime.bus.history.keeping import History, Nothing, Placed
from realtime.bus.line import Layer, Line
from realtime.core.addresses import Address
from realtime.core.events import Event
from realtime.core.history import MISSED, Gap, Position, Recovered

logger = structlog.get_logger("gateway")

Member = Callable[[Event], None]

MAX_HELD = 10_000  # events waiting for an announcement
HOLD_S = 5.0  # how long one waits


class Hub:
    """Local fan-out, with a Channels layer as the line, or none in the embedded set-up.

    What is said by `record` is numbered and kept by `history`, and can be recovered.

    `heard(id)` tells whether an announcement has been delivered here (see `Event.after`).
    Belongs to one event loop.
    """

    def __init__(self, layer: Layer | None = None, history: History | None = None) -> None:
        self.history = history or Nothing()
        self.history.attach(self.deliver, self._tell_others, self.hears)
        self.heard: Callable[[int], bool] = lambda announcement: True
        self._members: dict[Address, dict[Member, Gate | None]] = {}
        self._held: deque[tuple[float, list[Address], Event]] = deque(maxlen=MAX_HELD)
        self._line = Line(layer, self.deliver, self.history.arrived) if layer is not None else None

    async def start(self) -> None:
        if self._line is not None:
            await self._line.start()
        await self.history.start()

    async def stop(self) -> None:
        await self.history.stop()
        if self._line is not None:
            await self._line.stop()

    @property
    def connected(self) -> bool:
        """Whether live events reach the other processes."""
        return self._line is None or self._line.sound

    async def join(self, address: Address, member: Member) -> None:
        """From the return on, what is published to `address` anywhere reaches `member`.

        With the bus lost: what is published here; the rest once the bus is back.
        """
        self.join_here(address, member)
        if self._line is not None:
            await self._line.subscribe(address)

    def join_here(self, address: Address, member: Member) -> None:
        """For what only this process or an announcement says at `address`."""
        self._members.setdefault(address, {})[member] = None

    async def recover(
        self, address: Address, member: Member, after: Position | None
    ) -> tuple[Recovered | Gap, Gate]:
        """Join, and what `member` has missed. It hears nothing of this address before the caller
        opens the gate: having replayed what was recovered, and without waiting for anything before.
        """
        gate = Gate(member, lambda gate: self._step_aside(address, gate))
        members = self._members.setdefault(address, {})
        members.pop(member, None)  # it equals its gate: the older one would stay
        members[gate] = gate
        listens = True
        if self._line is not None:
            await self._line.subscribe(address)
            listens = await self._line.listens(address)
        outcome = await self.since(address, after)
        if isinstance(outcome, Recovered) and not listens:
            outcome = Gap(MISSED, outcome.position)
        outcome = gate.settle(outcome)
        result = outcome.reason if isinstance(outcome, Gap) else "recovered"
        metrics.RECOVERIES.labels(result).inc()
        return outcome, gate

    def _step_aside(self, address: Address, gate: Gate) -> None:
        members = self._members.get(address)
        if members is not None and members.get(gate.member) is gate:
            del members[gate]
            members[gate.member] = None

    async def leave(self, address: Address, member: Member) -> None:
        members = self._members.get(address)
        if members is None:
            return
        members.pop(member, None)
        if not members:
            del self._members[address]
            if self._line is not None:
                await self._line.unsubscribe(address)

    def publish(self, addresses: Sequence[Address], event: Event) -> None:
        """Tell the members everywhere; from the event loop. Never waits, never fails."""
        self.deliver(addresses, event)
        self._tell_others(addresses, event)

    def _tell_others(self, addresses: Sequence[Address], event: Event) -> None:
        if self._line is not None:
            self._line.send(addresses, event)

    def record(
        self, address: Address, event: Event, placed: Placed | None = None, *, once: str = ""
    ) -> None:
        """As `publish`, numbered and kept: the members hear `event` with its `position`.

        Whatever is said at an address of which something can be recovered is said by this. With
        `once`, every process says it under the same key, and each member hears it once.
        """
        self.history.record(address, event, placed, once=once)

    async def append(self, address: Address, event: Event) -> Position | None:
        """As `record`; where it is now, or None when it could not be numbered."""
        placed: asyncio.Future[Position | None] = asyncio.get_running_loop().create_future()

        def tell(position: Position | None) -> None:
            if not placed.done():  # nobody waits any more
                placed.set_result(position)

        self.record(address, event, tell)
        return await placed

    async def since(self, address: Address, position: Position | None) -> Recovered | Gap:
        """What was recorded at `address` after `position`: all of it, or a gap that says why not.

        None: nothing, but where the address is now.
        """
        return await self.history.since(address, position)

    def hears(self, addresses: Sequence[Address | tuple[str, str, str]]) -> bool:
        """Whether somebody in this process is at one of them; from any thread."""
        return not self._members.keys().isdisjoint(addresses)

    def deliver(self, addresses: Sequence[Address], event: Event) -> None:
        """Tell the members in this process, each once."""
        if event.after and not self.heard(event.after):
            self._held.append((time.monotonic(), list(addresses), event))
            return
        if len(addresses) == 1:
            members = list(self._members.get(addresses[0], ()))
        else:
            members = list(
                dict.fromkeys(
                    member for address in addresses for member in self._members.get(address, ())
                )
            )
        for member in members:
            try:
                member(event)
            except Exception:
                logger.exception("hub.member_failed", name=event.name)

    def release(self) -> None:
        """Deliver what waited for an announcement that has been heard, or waited long enough."""
        waiting, self._held = self._held, deque(maxlen=MAX_HELD)
        for since_s, addresses, event in waiting:
            if self.heard(event.after) or time.monotonic() - since_s > HOLD_S:
                event.after = 0
                self.deliver(addresses, event)
            else:
                self._held.append((since_s, addresses, event))

    @property
    def waiting(self) -> int:
        """How many events wait for an announcement."""
        return len(self._held)
