"""Connection: the life of one peer. It judges the door, drives the protocol and has its effects
performed (`realtime.performing`).

Knows neither Django nor Channels nor any protocol: what it needs is handed in.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from dataclasses import replace

import structlog

from realtime import metrics
from realtime.bus.hub import Hub
from realtime.core import events
from realtime.core.effects import Join
from realtime.core.errors import (
    Draining,
    GatewayError,
    GreetingTimeout,
    InternalFault,
    RateLimited,
    Refuse,
    Revoked,
    Shut,
    SlowConsumer,
    wire_answer,
)
from realtime.core.events import Event
from realtime.core.handshake import Handshake
from realtime.core.lifecycle import Phase, Signal, advance
from realtime.core.limits import Buckets, check_size
from realtime.core.principal import ANONYMOUS, Principal
from realtime.core.protocol import Protocol
from realtime.memberships import Memberships
from realtime.neighbours import Arrival, Door, Peer, PeerGone, Services, Timers
from realtime.performing import Performer

logger = structlog.get_logger("gateway")


class Connection:
    """One peer. Its methods are called in order: `open`, any number of `receive`, `closed`.

    `deliver` comes from the hub at any time and never waits.
    """

    __slots__ = (
        "_buckets",
        "_door",
        "_heard_at",
        "_memberships",
        "_peer",
        "_performer",
        "_revoked",
        "_services",
        "_timers",
        "_turn",
        "address",
        "id",
        "phase",
        "principal",
        "protocol",
    )

    def __init__(
        self,
        *,
        protocol: Protocol,
        peer: Peer,
        hub: Hub,
        services: Services,
        door: Door,
        buckets: Buckets,
    ) -> None:
        self.id = protocol.connection
        self.protocol = protocol
        self.principal = ANONYMOUS
        self.phase = Phase.CONNECTING
        self._heard_at = time.time()
        self.address = ""
        self._peer = peer
        self._services = services
        self._door = door
        self._buckets = buckets
        self._memberships = Memberships(hub, self.deliver, self.id)
        self._revoked = False
        self._timers = Timers()
        self._turn = asyncio.Lock()  # the door, a frame, a Resume: one at a time
        self._performer = Performer(
            self, peer=peer, hub=hub, services=services, memberships=self._memberships
        )

    # --- the door ---

    async def open(self, request: Handshake) -> None:
        """Judge the upgrade request: refuse it, let a stranger greet, or admit somebody."""
        self.address = request.address
        metrics.CONNECTIONS.labels(self.protocol.name).inc()
        with contextlib.suppress(PeerGone):  # `closed` comes next
            try:
                async with self._turn:
                    await self._judge(request)
            except PeerGone:
                raise
            except GatewayError as error:
                await self._turn_away(error)
            except Exception:
                logger.exception("connection.open_failed", connection=self.id)
                await self._turn_away(InternalFault())

    async def _judge(self, request: Handshake) -> None:
        self._door.judge(request, shows_cookie=self.protocol.shows_cookie)
        credential = self.protocol.handshake(request)
        if credential is None:
            await self._accept()
            self.wait_for_greeting(self.protocol.limits.greeting_s)
        else:
            await self.admit(await self._services.authenticate(credential), "")

    async def _accept(self) -> None:
        await self._peer.accept(self.protocol.limits.max_frame_bytes)
        self.phase = advance(self.phase, Signal.ACCEPT)
        self._memberships.join_own()

    async def admit(self, principal: Principal, ref: str) -> None:
        """Reachable, then present, then welcomed: whatever is sent to a welcomed peer arrives."""
        before, joined = self.principal, self._memberships.all
        self.principal = self.protocol.principal = principal
        try:
            effects = self.protocol.opened(ref)
            wanted = [effect.address for effect in effects if isinstance(effect, Join)]
            await self._memberships.join_as(principal, wanted)
            await self._services.arrive(Arrival.of(self.protocol, self.address))
        except Exception:
            self.principal = self.protocol.principal = before
            await self._memberships.leave(self._memberships.all - joined)
            raise
        await self._leave_if_revoked()
        if self.phase is Phase.CLOSED:  # it was closed from outside meanwhile
            await self._services.depart(self.id)
            return
        await self._memberships.leave_all_but(principal, wanted)
        if self.phase is Phase.CONNECTING:
            await self._accept()
            await self._leave_if_revoked()  # while the peer was being told
        self.phase = advance(self.phase, Signal.ADMIT)
        self._timers.cancel("greeting")
        self._close_at_expiry()
        logger.info(
            "connected",
            **self._who(),
            role=principal.role,
            via=principal.via,
            address=self.address,
        )
        await self._performer.perform([told for told in effects if not isinstance(told, Join)])

    async def _leave_if_revoked(self) -> None:
        if self._revoked:
            await self._services.depart(self.id)
            raise Revoked

    async def _turn_away(self, error: GatewayError) -> None:
        connecting = self.phase is Phase.CONNECTING
        answer = wire_answer(self.protocol.name, error)
        if connecting and not isinstance(answer, Shut | Refuse):
            answer = wire_answer("http", error)  # there is no frame to say it with yet
        logger.info(
            "refused",
            connection=self.id,
            protocol=self.protocol.name,
            error=type(error).__name__,
            address=self.address,
        )
        self.count(error)
        match answer:
            case Refuse(status) if connecting:
                self.phase = advance(self.phase, Signal.CLOSE)
                await self._peer.refuse(status, error)
            case Shut() if connecting:
                await self._accept()
                self._shut(error)
            case _:
                self._shut(error)

    # --- frames ---

    async def receive(self, text: str | bytes) -> None:
        """One frame from the peer."""
        async with self._turn:
            if self.phase is not Phase.CLOSED:
                self.touch()
                metrics.FRAMES_IN.labels(self.protocol.name).inc()
                await self._deal_with(text)

    async def _deal_with(self, text: str | bytes) -> None:
        ref = ""
        try:
            check_size(text, self.protocol.limits.max_frame_bytes)
            frame = self.protocol.decode(text)
            ref = self.protocol.ref(frame)
            if self.protocol.counts(frame):
                self._check_rate()
            if self.phase is Phase.OPEN:
                await self._performer.perform(self.protocol.receive(frame))
            else:
                await self._performer.perform(self.protocol.greet(frame))
        except Exception as error:
            await self.tell(ref, error)

    def _check_rate(self) -> None:
        who = f"{self.principal.account}:{self.principal.id}" if self.principal.id else self.id
        wait_s = self._buckets.take(f"{self.protocol.name}:{who}", time.monotonic())
        if wait_s:
            logger.warning("security.rate_limited", **self._who())
            raise RateLimited(retry_after_ms=max(1, round(wait_s * 1000)))

    async def resume(self) -> None:
        """What the protocol asked for by Resume; without it the peer must not stay."""
        async with self._turn:
            if self.phase is not Phase.OPEN:
                return
            try:
                await self._performer.perform(self.protocol.resume())
            except Exception:
                logger.exception("connection.resume_failed", connection=self.id)
                self.close(1011, str(InternalFault()))

    def touch(self) -> None:
        """The peer is alive."""
        self._heard_at = time.time()

    @property
    def last_seen(self) -> float:
        """When it was heard of last, in seconds since the epoch."""
        if not self.protocol.pings_count:
            return self._heard_at
        return max(self._heard_at, self._peer.outbound.lived_at)

    async def tell(self, ref: str, error: Exception) -> None:
        if not isinstance(error, GatewayError):
            logger.error("internal_fault", connection=self.id, exc_info=error)
            error = InternalFault()
        self.count(error)
        await self._performer.perform(self.protocol.failed(ref, error))

    # --- the bus ---

    def deliver(self, event: Event) -> None:
        """Something from the hub. The house's own events are kept here, or passed on where said."""
        if self.phase is Phase.CLOSED:
            return
        match event.name:
            case events.DISCONNECT if self.phase is Phase.CONNECTING:
                self._revoked = True  # the handshake is answered when it has been judged
                return
            case events.DISCONNECT if self.principal is not ANONYMOUS:
                self._shut(Revoked(event.data.get("reason", "")))
                return
            case events.EXPIRES:
                self._expire_at(event.data["at"])
                return
            case events.DRAIN:
                self._leave_soon(event.data["within_s"])
        if self.phase is Phase.OPEN:
            for effect in self.protocol.deliver(event):
                self._performer.perform_now(effect)

    def _leave_soon(self, within_s: float) -> None:
        if "drain" not in self._timers:
            delay_s = within_s * secrets.randbelow(1000) / 1000
            self._timers.set("drain", delay_s, self._shut, Draining())

    # --- the end ---

    def slow(self) -> None:
        """The peer (says its Outbound) reads too slowly: no last words, it would not read them."""
        error = SlowConsumer()
        answer = wire_answer(self.protocol.name, error)
        if self.phase is not Phase.CLOSED and isinstance(answer, Shut):
            self.count(error)
            self._peer.outbound.discard()
            self.close(answer.code, str(error))

    def _shut(self, error: GatewayError) -> None:
        self.count(error)
        for effect in self.protocol.failed("", error):
            self._performer.perform_now(effect)

    def close(self, code: int, reason: str) -> None:
        if self.phase is Phase.CLOSED:
            return
        self.phase = advance(self.phase, Signal.CLOSE)
        self._end_waiting()
        metrics.CLOSES.labels(self.protocol.name, code).inc()
        logger.info("closing", **self._who(), code=code, reason=reason)
        self._peer.outbound.close(code, reason)

    def _end_waiting(self) -> None:
        self._timers.cancel_all()
        self._performer.end()

    @property
    def queued_bytes(self) -> int:
        """What the peer has not read yet."""
        return self._peer.outbound.waiting_bytes

    async def closed(self, code: int) -> None:
        """The socket has ended, from whichever side."""
        self.phase = advance(self.phase, Signal.CLOSE)
        self._end_waiting()
        self._peer.outbound.gone()
        metrics.CONNECTIONS.labels(self.protocol.name).dec()
        await self._memberships.leave(self._memberships.all)
        if self.principal is not ANONYMOUS:
            await self._services.depart(self.id)
            logger.info("disconnected", **self._who(), code=code)

    # --- deadlines ---

    def wait_for_greeting(self, seconds: float) -> None:
        self._timers.set("greeting", seconds, self._shut, GreetingTimeout())

    def _expire_at(self, moment: float) -> None:
        moment = min(moment, self.principal.expires_at or moment)
        self.principal = self.protocol.principal = replace(self.principal, expires_at=moment)
        if self.phase is Phase.OPEN:
            self._close_at_expiry()

    def _close_at_expiry(self) -> None:
        at = self.principal.expires_at
        if at is not None:
            self._timers.set_for("expiry", at, self._shut, Revoked("credentials have expired"))

    # --- what is told of it ---

    def _who(self) -> dict[str, str]:
        return {
            "connection": self.id,
            "protocol": self.protocol.name,
            "user": self.principal.id,
            "account": self.principal.account,
        }

    def count(self, error: GatewayError) -> None:
        metrics.REFUSALS.labels(self.protocol.name, type(error).__name__).inc()
