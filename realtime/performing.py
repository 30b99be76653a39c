"""Performing: what becomes of the effects that a protocol returns, in their order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from typing import Protocol as Interface

import structlog

from realtime.asking import Asks
from realtime.bus.hub import Hub
from realtime.core.credentials import Credential
from realtime.core.effects import (
    Ask,
    Authenticate,
    AwaitRoom,
    Call,
    Close,
    Effect,
    Effects,
    Join,
    Leave,
    Publish,
    Record,
    Recover,
    Resume,
    Send,
    SendText,
    Touch,
    WaitFor,
)
from realtime.core.errors import GatewayError, InternalFault
from realtime.core.history import Gap, Recovered
from realtime.core.lifecycle import Phase
from realtime.core.operations import Operation
from realtime.core.principal import Principal
from realtime.core.protocol import Protocol
from realtime.memberships import Memberships
from realtime.neighbours import Peer, Services

logger = structlog.get_logger("gateway")


class Owner(Interface):
    """The connection whose effects they are."""

    id: str
    phase: Phase
    principal: Principal
    protocol: Protocol

    async def admit(self, principal: Principal, ref: str) -> None: ...
    async def resume(self) -> None: ...
    async def tell(self, ref: str, error: Exception) -> None: ...
    def close(self, code: int, reason: str) -> None: ...
    def count(self, error: GatewayError) -> None: ...
    def slow(self) -> None: ...
    def touch(self) -> None: ...
    def wait_for_greeting(self, seconds: float) -> None: ...


class Performer:
    """`perform` may wait, and belongs between two frames; `perform_now` is for deliveries, too."""

    __slots__ = ("_asks", "_hub", "_memberships", "_owner", "_peer", "_services")

    def __init__(
        self, owner: Owner, *, peer: Peer, hub: Hub, services: Services, memberships: Memberships
    ) -> None:
        self._owner = owner
        self._peer = peer
        self._hub = hub
        self._services = services
        self._memberships = memberships
        self._asks: Asks | None = None  # most never ask

    async def perform(self, effects: Effects) -> None:
        """Carry out what the protocol asked for, in order."""
        for effect in effects:
            match effect:
                case Call(operation, ref):
                    await self._call(operation, ref)
                case Authenticate(credential, ref):
                    await self._authenticate(credential, ref)
                case Join(address):
                    await self._memberships.join(address)
                case Leave(address):
                    await self._memberships.leave([address])
                case Publish(targets, event):
                    self._hub.publish(targets, event)
                case Record(address, event):
                    self._hub.record(address, event)
                case Recover():
                    if not await self._memberships.recover(effect, self._replay, self._peer):
                        self._owner.slow()
                case AwaitRoom():
                    if not await self._peer.outbound.room(lambda: False):
                        self._owner.slow()
                case _:
                    self.perform_now(effect)

    def perform_now(self, effect: Effect) -> None:
        """The effects that need no waiting: all that may come of a delivery."""
        match effect:
            case Send(frame):
                self._peer.outbound.text(self._owner.protocol.encode(frame))
            case SendText(text):
                self._peer.outbound.text(text)
            case Close(code, reason):
                self._owner.close(code, reason)
            case Ask() | Resume():
                if self._asks is None:
                    self._asks = Asks()
                self._asks.put(effect, self._carry)
            case Touch():
                self._owner.touch()
            case WaitFor(seconds):
                if self._owner.phase is Phase.GREETING:
                    self._owner.wait_for_greeting(seconds)
            case _:
                raise AssertionError(f"{effect!r} cannot be performed here")

    def end(self) -> None:
        """What has not begun is not done any more."""
        if self._asks is not None:
            self._asks.drop()

    def _replay(self, ref: str, outcome: Recovered | Gap) -> Iterator[None]:
        for told in self._owner.protocol.replied(ref, outcome):
            self.perform_now(told)
            yield

    async def _call(self, operation: Operation, ref: str) -> None:
        try:
            result = await self._services.run(operation, self._owner.principal)
        except Exception as error:
            await self._owner.tell(ref, error)
            return
        if isinstance(result, asyncio.Future):  # the answer comes when a run has ended
            result.add_done_callback(lambda done: self._answer_later(ref, done))
        else:
            await self.perform(self._owner.protocol.replied(ref, result))

    async def _carry(self, asked: Ask | Resume) -> None:
        """Not in turn with the frames: what is asked for, however long, holds none up."""
        match asked:
            case Ask(operation, ref):
                try:
                    await self._call(operation, ref)
                except Exception as error:  # of the answer: nobody else would hear of it
                    await self._owner.tell(ref, error)
            case Resume():
                await self._owner.resume()

    def _answer_later(self, ref: str, done: asyncio.Future[Any]) -> None:
        protocol = self._owner.protocol
        if self._owner.phase is Phase.CLOSED or done.cancelled():
            return
        error = done.exception()
        if error is None:
            effects = protocol.replied(ref, done.result())
        elif isinstance(error, GatewayError):
            self._owner.count(error)
            effects = protocol.failed(ref, error)
        else:
            logger.error("internal_fault", connection=self._owner.id, exc_info=error)
            effects = protocol.failed(ref, InternalFault())
        for effect in effects:
            self.perform_now(effect)

    async def _authenticate(self, credential: Credential, ref: str) -> None:
        outcome = await self._services.authenticate(credential)
        if isinstance(outcome, Principal):
            await self._owner.admit(outcome, ref)
        else:
            await self.perform(self._owner.protocol.replied(ref, outcome))
