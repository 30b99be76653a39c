"""Keeping: what a hub wants of a history, and the history that keeps nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from typing import Protocol as Interface

from realtime.core.addresses import Address
from realtime.core.events import Event
from realtime.core.history import OFF, Gap, Position, Recovered

# What an address may keep whatever its size: one that is replayed to a peer has to fit there.
MAX_BYTES = 1024 * 1024
# What all addresses may keep together; more is dropped where it has been idle for longest.
MAX_TOTAL_BYTES = 64 * 1024 * 1024
# How long an address that nothing is said at keeps its epoch, at least.
KEEP_EPOCH_S = 3600.0

Tell = Callable[[Sequence[Address], Event], None]
Hears = Callable[[Sequence[Address]], bool]
Placed = Callable[[Position | None], None]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one address: so many messages, none older than `ttl_s`, together at most `max_bytes`.
    Of all: `total_bytes`.
    """

    size: int = 1000
    ttl_s: float = 300.0
    max_bytes: int = MAX_BYTES
    total_bytes: int = MAX_TOTAL_BYTES

    @property
    def keeps(self) -> bool:
        return self.size > 0 and self.ttl_s > 0

    @property
    def epoch_s(self) -> float:
        """How long an idle address keeps its epoch."""
        return max(self.ttl_s, KEEP_EPOCH_S)


class History(Interface):
    """`attach` comes first. Belongs to one event loop."""

    def attach(self, deliver: Tell, others: Tell, hears: Hears) -> None:
        """`deliver` tells the members of this process, `others` those of all others, unnumbered;
        `hears` says whether this process has any."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...

    def record(
        self, address: Address, event: Event, placed: Placed | None = None, *, once: str = ""
    ) -> None:
        """Number, keep and publish `event`. Never waits, never fails.

        `placed` is called with its position, or with None when it was published unnumbered.
        With `once`, every process says the same under this key, and only one is heard.
        """

    def arrived(self, message: dict[str, Any]) -> None:
        """A recorded message from the bus, `hub.recorded`."""

    async def since(self, address: Address, position: Position | None) -> Recovered | Gap:
        """What was said after `position`; None: nothing, but say where the address is now."""


class Nothing:
    """History turned off: what is recorded is published, and nobody recovers."""

    def attach(self, deliver: Tell, others: Tell, hears: Hears) -> None:
        self._deliver, self._others = deliver, others

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def record(
        self, address: Address, event: Event, placed: Placed | None = None, *, once: str = ""
    ) -> None:
        self._deliver([address], event)
        if not once:
            self._others([address], event)
        if placed is not None:
            placed(None)

    def arrived(self, message: dict[str, Any]) -> None:
        """A process with other settings has numbered it: it is heard here all the same."""
        if "once" in message:
            return  # nor has this process waited for it
        self._deliver([Address.unpack(message["address"])], Event.unpack(message["event"]))

    async def since(self, address: Address, position: Position | None) -> Recovered | Gap:
        return Gap(OFF)


def new_epoch() -> str:
    """64 random bits: no epoch is ever taken for another."""
    return secrets.token_hex(8)
