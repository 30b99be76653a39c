"""Line: what connects a Hub to the hubs of the other processes, over a Channels layer.

One channel for the process, one subscription per address, one bounded queue of what is to be sent.
After a loss, in either direction, the members concerned hear `system.resync`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any
from typing import Protocol as Interface

import structlog
from redis.exceptions import RedisError

from realtime import metrics
from realtime.core.addresses import SYSTEM, Address, everyone
from realtime.core.events import RESYNC, Event

logger = structlog.get_logger("gateway")

MAX_BACKLOG = 10_000  # events waiting to be sent
RETRY_S = 0.5  # how often a lost bus is tried again
PROBE_S = 5.0  # how often a process listens for itself
DEAF_S = 12.0  # without hearing itself for so long, its subscription is made anew
TIMEOUT_S = 1.0
_LOST = (RedisError, OSError, asyncio.TimeoutError)


class Layer(Interface):
    """What a line needs of a Channels layer; the last three are our own (`realtime.bus.layer`)."""

    async def new_channel(self, prefix: str) -> str: ...
    async def group_add(self, group: str, channel: str) -> None: ...
    async def group_discard(self, group: str, channel: str) -> None: ...
    async def group_send(self, group: str, message: dict[str, Any]) -> None: ...
    async def receive(self, channel: str) -> dict[str, Any]: ...
    async def flush(self) -> None: ...

    on_resubscribe: Callable[[], None] | None

    async def drop_subscription(self) -> None: ...
    async def hears(self, group: str, within_s: float) -> bool: ...


class Line:
    """`deliver` is the hub's, `recorded` its history's. Belongs to one event loop."""

    def __init__(
        self,
        layer: Layer,
        deliver: Callable[[Sequence[Address], Event], None],
        recorded: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.up = False
        self._recorded = recorded
        self._layer = layer
        self._deliver = deliver
        self._origin = secrets.token_hex(8)
        self._echo = f"gw.echo.{self._origin}"  # where this process listens for itself
        self._echoed = time.monotonic()
        self._hears_itself = False
        self._channel = ""
        self._wanted: set[Address] = set()
        self._subscribed: set[Address] = set()
        self._changing = asyncio.Lock()  # one change of the subscriptions at a time
        self._outgoing: deque[dict[str, Any]] = deque()
        self._something = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._sent = 0
        self._seen: deque[tuple[str, int]] = deque(maxlen=4096)

    @property
    def sound(self) -> bool:
        """Whether events get out, and come in."""
        return self.up and time.monotonic() - self._echoed < DEAF_S

    async def start(self) -> None:
        self._layer.on_resubscribe = self._resubscribed
        with contextlib.suppress(*_LOST):
            await self._open()
        loops = (self._receive, self._send, self._listen_for_itself)
        self._tasks = [asyncio.create_task(loop()) for loop in loops]

    async def stop(self) -> None:
        self._layer.on_resubscribe = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(*_LOST):  # nothing is left to tidy on a Redis that is away
            async with asyncio.timeout(TIMEOUT_S):
                await self._layer.flush()

    # --- subscriptions ---

    async def subscribe(self, address: Address) -> None:
        """Return when subscribed; with the bus lost at once, and it is done on its return."""
        self._wanted.add(address)
        await self._settle(address)

    async def unsubscribe(self, address: Address) -> None:
        self._wanted.discard(address)
        await self._settle(address)

    async def _settle(self, address: Address) -> None:
        async with self._changing:
            if self.up:
                try:
                    async with asyncio.timeout(TIMEOUT_S):
                        await self._apply(address)
                except _LOST as error:
                    self._lost(error)

    async def _apply(self, address: Address) -> None:
        """Make the layer's subscription what is wanted by now."""
        if address in self._wanted and address not in self._subscribed:
            await self._layer.group_add(address.group(), self._channel)
            self._subscribed.add(address)
        elif address not in self._wanted and address in self._subscribed:
            # First, for it may fail: whoever comes back subscribes anew.
            self._subscribed.discard(address)
            await self._layer.group_discard(address.group(), self._channel)

    async def listens(self, address: Address) -> bool:
        """Whether Redis has said that whatever is published to `address` comes here from now on.

        `subscribe` returns when it has been asked: enough for who wants to hear what comes next.
        """
        if not self.up or address not in self._subscribed:
            return False
        return await self._layer.hears(address.group(), 2 * TIMEOUT_S)

    # --- sending ---

    def send(self, addresses: Sequence[Address], event: Event) -> None:
        if self.up and len(self._outgoing) >= MAX_BACKLOG:
            self._lost(OverflowError())
        if not self.up:
            metrics.BUS_LOST.inc()
            return
        self._sent += 1
        self._put(
            {
                "type": "hub.event",
                "origin": self._origin,
                "number": self._sent,
                "addresses": [address.pack() for address in addresses],
                "event": event.pack(),
            },
        )

    def _put(self, message: dict[str, Any]) -> None:
        self._outgoing.append(message)
        self._something.set()

    async def _send(self) -> None:
        while True:
            if not self.up:
                await self._recover()
            await self._something.wait()
            self._something.clear()
            while self._outgoing and self.up:
                try:
                    await self._transmit(self._outgoing.popleft())
                except _LOST as error:
                    self._lost(error)
                except Exception:  # one event that cannot be packed must not end the sender
                    metrics.BUS_LOST.inc()
                    logger.exception("bus.event_not_sent")

    async def _transmit(self, message: dict[str, Any]) -> None:
        if message["type"] == "hub.echo":
            await self._layer.group_send(self._echo, message)
            return
        for packed in message["addresses"]:
            await self._layer.group_send(Address.unpack(packed).group(), message)

    # --- loss and return ---

    async def _recover(self) -> None:
        """Try until the bus answers; then say that something may be missing."""
        while not self.up:
            await asyncio.sleep(RETRY_S)
            with contextlib.suppress(*_LOST):
                await self._open()
        self.send([everyone(SYSTEM)], Event(RESYNC, {"reason": "bus"}))

    async def _open(self) -> None:
        async with self._changing:
            if not self._channel:
                async with asyncio.timeout(TIMEOUT_S):
                    self._channel = await self._layer.new_channel("hub")
            if not self._hears_itself:
                async with asyncio.timeout(TIMEOUT_S):
                    await self._layer.group_add(self._echo, self._channel)
                self._hears_itself = True
            await self._layer.group_send(self._echo, {"type": "hub.echo"})
            missed = bool(self._wanted - self._subscribed)
            # Whoever joins or leaves meanwhile waits for the lock, and then settles by itself.
            for address in self._wanted ^ self._subscribed:
                async with asyncio.timeout(TIMEOUT_S):
                    await self._apply(address)
            self.up = True
        self._echoed = time.monotonic()
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
        """The layer came back by itself; what was published in between never arrived here."""
        logger.info("bus.resubscribed")
        self._tell_resync()

    def _tell_resync(self) -> None:
        self._deliver([everyone(SYSTEM)], Event(RESYNC, {"reason": "bus"}))

    async def _listen_for_itself(self) -> None:
        """A line that fell silent without an error (a lost route, a half-open socket) is noticed
        by not hearing oneself on it.
        """
        while True:
            await asyncio.sleep(PROBE_S)
            if not self.up:
                continue
            self._put({"type": "hub.echo"})
            if time.monotonic() - self._echoed > DEAF_S:
                logger.warning("bus.deaf")
                with contextlib.suppress(*_LOST):
                    await self._layer.drop_subscription()

    # --- receiving ---

    async def _receive(self) -> None:
        while True:
            if not self._channel:
                await asyncio.sleep(RETRY_S)
                continue
            try:
                self._arrived(await self._layer.receive(self._channel))
            except Exception as error:
                # Anybody may publish nonsense on a shared Redis: it must not end the receiver.
                logger.warning("bus.message_dropped", error=type(error).__name__)

    def _arrived(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "hub.echo":
            self._echoed = time.monotonic()
        if kind == "hub.recorded" and self._recorded is not None:
            self._recorded(message)
        if kind != "hub.event" or message["origin"] == self._origin:
            return
        if len(message["addresses"]) > 1:  # it comes once for each address; deliver it once
            stamp = (message["origin"], message["number"])
            if stamp in self._seen:
                return
            self._seen.append(stamp)
        addresses = [Address.unpack(packed) for packed in message["addresses"]]
        self._deliver(addresses, Event.unpack(message["event"]))
