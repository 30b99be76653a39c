"""Hub: this process's members of each address, and its one line to the other processes.

An event published here reaches the members in this process at once, and those of every other
process through one Redis subscription per address and process. Delivery is a plain loop over bound
methods: no task, no channel and no encoding per member. At most once: what must not be lost is a
row first (`announce`).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from typing import Protocol as Interface

import structlog
from redis.exceptions import RedisError

from realtime import metrics
from realtime.core.addresses import SYSTEM, Address, everyone
from realtime.core.events import RESYNC, Event

logger = structlog.get_logger("gateway")

Member = Callable[[Event], None]


class Layer(Interface):
    """What a hub needs of a Channels layer; `on_resubscribe` is our own (`realtime.bus.layer`)."""

    on_resubscribe: Callable[[], None] | None

    async def new_channel(self, prefix: str) -> str: ...
    async def group_add(self, group: str, channel: str) -> None: ...
    async def group_discard(self, group: str, channel: str) -> None: ...
    async def group_send(self, group: str, message: dict[str, Any]) -> None: ...
    async def receive(self, channel: str) -> dict[str, Any]: ...
    async def flush(self) -> None: ...


MAX_BACKLOG = 10_000  # events waiting for the wire, or held for an announcement
HOLD_S = 5.0  # how long an event waits for its announcement
PROBE_S = 0.5  # how often a lost bus is tried again
TIMEOUT_S = 1.0
_LOST = (RedisError, OSError, asyncio.TimeoutError)


class Hub:
    """Local fan-out, with a Channels layer as the wire, or none in the embedded set-up.

    `heard(id)` tells whether an announcement has been delivered here (see `Event.after`).
    Belongs to one event loop.
    """

    def __init__(self, layer: Layer | None = None) -> None:
        self.heard: Callable[[int], bool] = lambda announcement: True
        self._members: dict[Address, dict[Member, None]] = {}
        self._held: deque[tuple[float, list[Address], Event]] = deque(maxlen=MAX_BACKLOG)
        self._wire = Wire(layer, self.deliver) if layer is not None else None

    async def start(self) -> None:
        if self._wire is not None:
            await self._wire.start()

    async def stop(self) -> None:
        if self._wire is not None:
            await self._wire.stop()

    @property
    def connected(self) -> bool:
        """Whether live events reach the other processes."""
        return self._wire is None or self._wire.up

    async def join(self, address: Address, member: Member) -> None:
        """From the return on, what is published to `address` anywhere reaches `member`.

        With the bus lost: what is published here; the rest once the bus is back.
        """
        if self.join_here(address, member) and self._wire is not None:
            await self._wire.subscribe(address)

    def join_here(self, address: Address, member: Member) -> bool:
        """For addresses that only this process or an announcement speaks to; True for the first
        member.
        """
        members = self._members.setdefault(address, {})
        members[member] = None
        return len(members) == 1

    async def leave(self, address: Address, member: Member) -> None:
        members = self._members.get(address)
        if members is None:
            return
        members.pop(member, None)
        if not members:
            del self._members[address]
            if self._wire is not None:
                await self._wire.unsubscribe(address)

    def publish(self, addresses: Sequence[Address], event: Event) -> None:
        """Tell the members everywhere; from the event loop. Never waits, never fails."""
        self.deliver(addresses, event)
        if self._wire is not None:
            self._wire.send(addresses, event)

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
        waiting, self._held = self._held, deque(maxlen=MAX_BACKLOG)
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


class Wire:
    """The channel layer under a Hub: one channel, one subscription per address, one bounded send
    queue.

    After a loss, in either direction, the members concerned hear `system.resync`.
    """

    def __init__(self, layer: Layer, deliver: Callable[[Sequence[Address], Event], None]) -> None:
        self.up = False
        self._layer = layer
        self._deliver = deliver
        self._origin = secrets.token_hex(8)
        self._channel = ""
        self._wanted: set[Address] = set()
        self._subscribed: set[Address] = set()
        self._outgoing: deque[dict[str, Any]] = deque()
        self._something = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._sent = 0
        self._seen: deque[tuple[str, int]] = deque(maxlen=4096)

    async def start(self) -> None:
        self._layer.on_resubscribe = self._resubscribed
        try:
            await self._open()
        except _LOST as error:
            self._lost(error)
        self._tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._send())]

    async def stop(self) -> None:
        self._layer.on_resubscribe = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(*_LOST):  # nothing is left to tidy on a Redis that is away
            await asyncio.wait_for(self._layer.flush(), TIMEOUT_S)

    async def subscribe(self, address: Address) -> None:
        self._wanted.add(address)
        if self.up:
            await self._guarded(self._subscribe(address))

    async def unsubscribe(self, address: Address) -> None:
        self._wanted.discard(address)
        if self.up and address in self._subscribed:
            await self._guarded(self._layer.group_discard(address.group(), self._channel))
        # Somebody may have joined while the layer was answering.
        if address not in self._wanted:
            self._subscribed.discard(address)
        elif self.up:
            self._subscribed.discard(address)
            await self._guarded(self._subscribe(address))

    def send(self, addresses: Sequence[Address], event: Event) -> None:
        if not self.up or len(self._outgoing) >= MAX_BACKLOG:
            metrics.BUS_LOST.inc()
            return
        self._sent += 1
        self._outgoing.append(
            {
                "type": "hub.event",
                "origin": self._origin,
                "number": self._sent,
                "addresses": [address.pack() for address in addresses],
                "event": event.pack(),
            }
        )
        self._something.set()

    async def _open(self) -> None:
        self._channel = await asyncio.wait_for(self._layer.new_channel("hub"), TIMEOUT_S)
        await self._recovered()

    async def _subscribe(self, address: Address) -> None:
        await self._layer.group_add(address.group(), self._channel)
        self._subscribed.add(address)

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await asyncio.wait_for(work, TIMEOUT_S)
        except _LOST as error:
            self._lost(error)

    async def _send(self) -> None:
        while True:
            if not self.up:
                await self._recover()
            await self._something.wait()
            self._something.clear()
            try:
                while self._outgoing:
                    message = self._outgoing.popleft()
                    for packed in message["addresses"]:
                        await self._layer.group_send(Address.unpack(packed).group(), message)
            except _LOST as error:
                self._lost(error)

    async def _recover(self) -> None:
        """Try until the bus answers, then subscribe anew and say that something may be missing."""
        while not self.up:
            await asyncio.sleep(PROBE_S)
            try:
                if not self._channel:
                    await self._open()
                else:
                    await self._recovered()
            except _LOST:
                continue
        self.send([everyone(SYSTEM)], Event(RESYNC, {"reason": "bus"}))

    async def _recovered(self) -> None:
        missed = self._wanted - self._subscribed
        for address in missed:
            await asyncio.wait_for(self._subscribe(address), TIMEOUT_S)
        await self._layer.group_send("gw.probe", {"type": "hub.probe"})
        self.up = True
        metrics.BUS_UP.set(1)
        logger.info("bus.up")
        if missed:
            self._tell_resync()

    def _lost(self, error: BaseException) -> None:
        self._something.set()
        if not self.up:
            return
        self.up = False
        metrics.BUS_UP.set(0)
        metrics.BUS_LOST.inc(len(self._outgoing))
        self._outgoing.clear()
        logger.warning("bus.down", error=type(error).__name__)

    def _resubscribed(self) -> None:
        """redis-py came back by itself; what was published in between never arrived here."""
        logger.info("bus.resubscribed")
        self._tell_resync()

    def _tell_resync(self) -> None:
        self._deliver([everyone(SYSTEM)], Event(RESYNC, {"reason": "bus"}))

    async def _receive(self) -> None:
        while True:
            if not self._channel:
                await asyncio.sleep(PROBE_S)
                continue
            try:
                message = await self._layer.receive(self._channel)
                self._arrived(message)
            except Exception as error:
                # Anybody may publish nonsense on a shared Redis: it must not end the receiver.
                logger.warning("bus.message_dropped", error=type(error).__name__)

    def _arrived(self, message: dict[str, Any]) -> None:
        if message.get("type") != "hub.event" or message["origin"] == self._origin:
            return
        if len(message["addresses"]) > 1:  # it comes once for each address; deliver it once
            stamp = (message["origin"], message["number"])
            if stamp in self._seen:
                return
            self._seen.append(stamp)
        addresses = [Address.unpack(packed) for packed in message["addresses"]]
        self._deliver(addresses, Event.unpack(message["event"]))
