"""Streams: the history that all processes share, in Redis.

One script numbers, keeps, trims and publishes: so every process hears the same numbers in the same
order, its own messages like those of others. What Redis may not have done is said here without a
number, and the address begins a new epoch as soon as Redis answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import structlog

from realtime import metrics
from realtime.bus.history import scripts
from realtime.bus.history.commands import Commands
from realtime.bus.history.keeping import Bounds, Hears, Placed, Tell
from realtime.bus.history.late import Late, Pending
from realtime.bus.history.wire import (
    ENDED,
    LOST,
    TICK_S,
    Command,
    Stale,
    Wire,
    sound,
    within_patience,
)
from realtime.core.addresses import SYSTEM, Address, everyone
from realtime.core.events import RESYNC, Event
from realtime.core.history import AWAY, EPOCH, Gap, Position, Recovered

logger = structlog.get_logger("gateway")

RETRY_S = 0.5
BATCH = 256  # messages in one exchange with Redis
BATCH_BYTES = 1024 * 1024
MAX_BACKLOG = 20_000  # messages waiting to be sent, or for Redis
MAX_BACKLOG_BYTES = 64 * 1024 * 1024
MAX_BROKEN = 10_000  # addresses; with more, all begin a new epoch
MANY = 100  # new epochs; with more, everybody looks again

# The end of a packed message: its position, which the script writes anew.
_NO_EPOCH = "0" * scripts.EPOCH_BYTES
_NOWHERE = (_NO_EPOCH, 2**63)
_TAIL = msgspec.msgpack.encode(_NOWHERE)[1:]

Frame = Callable[[str, dict[str, Any]], tuple[str, bytes]]


class Streams:
    """`frame` says on which channel of the bus a group is, and packs a message for it."""

    def __init__(self, url: str, bounds: Bounds, *, frame: Frame) -> None:
        self.up = False
        self._wire = Wire(url)
        self._frame = frame
        self._origin = secrets.token_hex(8)
        self._sent = 0
        self._outgoing: deque[int] = deque()
        self._pending: dict[int, Pending] = {}  # by number, in order
        self._bytes = 0  # of what is pending
        self._broken: set[Address] = set()  # where something was said without a number
        self._all_broken = False
        self._something = asyncio.Event()
        self._opening = asyncio.Lock()
        self._late = Late()
        self._commands = Commands(bounds)
        self._once = self._commands.once
        self._tasks: list[asyncio.Task[None]] = []

    def attach(self, deliver: Tell, others: Tell, hears: Hears) -> None:
        self._deliver, self._others, self._hears = deliver, others, hears

    async def start(self) -> None:
        _, packed = self._frame("", {"at": _NOWHERE})
        if not packed.endswith(_TAIL):
            raise ValueError("a history in Redis needs a channel layer that packs with msgpack")
        with contextlib.suppress(*LOST):
            await self._open()
        self._tasks = [asyncio.create_task(loop()) for loop in (self._send, self._watch)]

    async def stop(self) -> None:
        if self.up and self._outgoing:  # what was said just before leaving is heard by the others
            with contextlib.suppress(*LOST):
                await within_patience(self._flush())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._wire.close()
        self._say_awaited()  # the bus will not bring it any more
        if self._pending:
            self._lost(ConnectionError("stopped"))
        self.up = False  # whoever says something now learns at once that it has no number

    # --- saying ---

    def record(
        self, address: Address, event: Event, placed: Placed | None = None, *, once: str = ""
    ) -> None:
        if self._once.is_said(once):  # by another process, over the bus
            return
        if self.up and (len(self._pending) >= MAX_BACKLOG or self._bytes >= MAX_BACKLOG_BYTES):
            self._lost(OverflowError())
        if not self.up:
            self._say_unnumbered(address, event, placed, once)
            return
        self._sent += 1
        message = {
            "type": "hub.recorded",
            "origin": self._origin,
            "number": self._sent,
            "address": address.pack(),
            "event": event.pack(),
            **({"once": once} if once else {}),
            "at": _NOWHERE,
        }
        channel, packed = self._frame(address.group(), message)
        pending = Pending(address, event, placed, channel, packed[: -len(_TAIL)], once)
        self._pending[self._sent] = pending
        self._once.sent(once, self._sent)
        self._bytes += len(packed)
        self._outgoing.append(self._sent)
        self._something.set()

    def _say_unnumbered(
        self,
        address: Address,
        event: Event,
        placed: Placed | None,
        once: str,
        *,
        everywhere: bool = True,
    ) -> None:
        self._break(address)
        self._once.said(once)
        self._deliver([address], event)
        if everywhere and not once:  # by another way than what has numbers, which may overtake it
            self._others([address], Event(event.name, event.data, late=True))
        if placed is not None:
            placed(None)

    def _break(self, address: Address) -> None:
        self._broken.add(address)
        if len(self._broken) > MAX_BROKEN:
            self._broken.clear()
            self._all_broken = True

    async def _send(self) -> None:
        while True:
            try:
                await self._send_or_open()
            except LOST as error:
                self._lost(error)
            except Exception as error:  # whatever it is must not end the sender
                logger.exception("history.send_failed")
                self._lost(error)

    async def _send_or_open(self) -> None:
        if self.up:
            await self._something.wait()
            self._something.clear()
            await self._flush()
            return
        await asyncio.sleep(RETRY_S)
        async with self._opening:
            await self._open()

    async def _flush(self) -> None:
        while self._outgoing and self.up:
            numbers = list(self._next_batch())
            batch = [self._pending[number] for number in numbers]
            commands = [
                self._commands.append(
                    pending.address, pending.channel, pending.packed, pending.once
                )
                for pending in batch
            ]
            try:
                answers = await self._wire.call(commands)
            except Stale:
                self._outgoing.extendleft(reversed(numbers))
                await self._reopen()
                continue
            refused = False
            for number, answer in zip(numbers, answers, strict=True):
                refused |= isinstance(answer, Exception)
                self._answered(number, answer)
            if refused:  # the address begins a new epoch before the next message
                self._lost(ConnectionError("refused"))

    def _next_batch(self) -> Iterable[int]:
        size = 0
        for _ in range(BATCH):
            if not self._outgoing or size > BATCH_BYTES:
                return
            number = self._outgoing.popleft()
            if number in self._pending:  # else it has been said without its number meanwhile
                size += len(self._pending[number].packed)
                yield number

    def _answered(self, number: int, answer: Any) -> None:
        """Redis has kept and published it, or refused to."""
        pending = self._pending.get(number)
        if pending is None:  # it is here already
            return
        if isinstance(answer, Exception):
            logger.warning("history.refused", error=str(answer)[:200])
            self._forget(number)
            self._say_unnumbered(pending.address, pending.event, pending.placed, pending.once)
            return
        if not answer[0]:  # it was said elsewhere, before the present epoch
            self._forget(number)
            pending.event.late = True
            self._deliver([pending.address], pending.event)
            if pending.placed is not None:
                pending.placed(None)
            return
        pending.position = Position(answer[0].decode(), answer[1])
        will_come = not self._late.has_passed(pending.address, pending.position)
        if not will_come or not self._hears([pending.address]):
            self._end(number, pending.position)

    # --- hearing ---

    def arrived(self, message: dict[str, Any]) -> None:
        epoch, offset = message["at"]
        position = Position(str(epoch), int(offset))
        if message["origin"] == self._origin:
            self._late.echo()
            self._end(message["number"], position)
            return
        once = message.get("once", "")
        number = self._once.waiting(once)
        if number is not None:
            self._end(number, position)
            return
        if self._once.is_said(once):
            return
        self._once.said(once)
        self._say(Address.unpack(message["address"]), Event.unpack(message["event"]), position)

    def _end(self, number: int, position: Position) -> None:
        pending = self._forget(number)
        if pending is None:  # it was said without its number, or did not wait for the bus
            return
        self._say(pending.address, pending.event, position)
        if pending.placed is not None:
            pending.placed(position)

    def _say(self, address: Address, event: Event, position: Position) -> None:
        if self._late.has_passed(address, position):
            return
        if self._late.ends(address, position.epoch):
            self._say_awaited(address, position.epoch)
        self._late.said(address, position)
        event.position = position
        self._deliver([address], event)

    def _say_awaited(self, address: Address | None = None, epoch: str = "") -> None:
        """What Redis has numbered and the bus has not brought: all, or before `epoch` there."""
        for number, pending in list(self._pending.items()):
            at = pending.position
            if at is not None and at.epoch != epoch and address in (None, pending.address):
                self._end(number, at)

    def _forget(self, number: int) -> Pending | None:
        pending = self._pending.pop(number, None)
        if pending is not None:
            self._bytes -= len(pending.packed) + len(_TAIL)
            self._once.said(pending.once)
        return pending

    # --- recovering ---

    async def since(self, address: Address, position: Position | None) -> Recovered | Gap:
        if not self.up:
            return Gap(AWAY)
        # A peer that goes away while it asks must not take the connection with it.
        answer = await asyncio.shield(
            asyncio.ensure_future(self._ask(self._commands.since(address, position)))
        )
        if isinstance(answer, Exception):
            logger.warning("history.refused", error=str(answer)[:200])
            return Gap(AWAY)
        if address in self._broken:  # something was said without a number meanwhile
            return Gap(EPOCH)
        found, last, reason, *packed = answer
        here = Position(found.decode(), last)
        if reason:
            return Gap(reason.decode(), here)
        events = [
            Event.unpack(msgspec.msgpack.decode(message + _TAIL)["event"]) for message in packed
        ]
        for number, event in enumerate(events, here.offset - len(events) + 1):
            event.position = Position(here.epoch, number)
        return Recovered(events, here)

    async def _ask(self, command: Command) -> Any:
        try:
            try:
                (answer,) = await self._wire.call([command])
            except ENDED:  # asking twice does no harm
                await self._reopen()
                (answer,) = await self._wire.call([command])
        except LOST as error:
            self._lost(error)
            return error
        return answer

    # --- loss and return ---

    async def _notice_the_end(self) -> None:
        """Of the connection: a Redis that was restarted is told soon what has been said."""
        try:
            if self.up and await self._wire.has_ended():
                await self._reopen()
        except LOST as error:
            self._lost(error)

    async def _reopen(self) -> None:
        """A new connection in place of one that has ended, as idle ones may. Raises one of LOST."""
        async with self._opening:
            if not self._wire.open:
                await self._open()

    async def _open(self) -> None:
        self._say_awaited()  # and claim it with all that has been said
        anew: list[Address] = []
        all_anew = False
        while True:
            broken, everything = await self._greet()
            anew, all_anew = [*anew, *broken], all_anew or everything
            if not self._broken and not self._all_broken:
                break
        self.up = True
        logger.info("history.up")
        if all_anew or len(anew) > MANY:
            anew = [everyone(SYSTEM)]
        for address in anew:  # who recovered there meanwhile took it for whole
            for tell in (self._deliver, self._others):
                tell([address], Event(RESYNC, {"reason": "history"}))

    async def _greet(self) -> tuple[set[Address], bool]:
        """Connect; where epochs have ended by it. What breaks meanwhile is for the next time."""
        broken, everything = self._broken, self._all_broken
        self._broken, self._all_broken = set(), False
        try:
            hello = self._commands.hello(broken, everything)
            self._commands.greeted(sound(await self._wire.connect(hello)))
        except BaseException:
            self._broken |= broken
            self._all_broken |= everything
            raise
        return broken, everything

    def _lost(self, error: BaseException) -> None:
        """Say here what Redis may have done, everywhere what it has not heard of, unnumbered."""
        if not self.up:
            return
        self.up = False
        self._something.set()
        logger.warning("history.down", error=type(error).__name__)
        unsent = set(self._outgoing)
        self._outgoing.clear()
        self._say_awaited()  # not behind what is said from now on
        for number, pending in list(self._pending.items()):
            self._forget(number)
            metrics.HISTORY_UNNUMBERED.inc()
            at, event, placed, once = pending.address, pending.event, pending.placed, pending.once
            self._say_unnumbered(at, event, placed, once, everywhere=number in unsent)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            await self._notice_the_end()
            late = self._late.due(self._pending)
            if late:
                logger.warning("history.deaf", messages=len(late))
            for number, position in late:
                self._end(number, position)
