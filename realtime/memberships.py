"""Memberships: the addresses that one connection hears."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from realtime.bus.hub import Hub, Member
from realtime.core import addresses
from realtime.core.addresses import Address
from realtime.core.effects import Recover
from realtime.core.history import Gap, Recovered
from realtime.core.principal import Principal
from realtime.neighbours import Peer

Replay = Callable[[str, Recovered | Gap], Iterator[None]]

AT_ONCE = 100  # frames of a replay, before others have their turn

EVERYONE = addresses.everyone(addresses.SYSTEM)


class Memberships:
    """`member` is told what is said at each of the addresses; `connection` is its own id."""

    __slots__ = ("_hub", "_joined", "_member", "_own")

    def __init__(self, hub: Hub, member: Member, connection: str) -> None:
        self._hub = hub
        self._member = member
        self._joined: dict[Address, None] = {}
        # Where every accepted connection is a member, whoever it is.
        self._own = (EVERYONE, addresses.connection(connection))

    @property
    def all(self) -> set[Address]:
        return set(self._joined)

    async def join(self, address: Address) -> None:
        self._joined[address] = None
        await self._hub.join(address, self._member)

    async def recover(self, effect: Recover, replay: Replay, peer: Peer) -> bool:
        """Join, `replay` what was missed and what is said meanwhile as fast as the peer reads, then
        let come what is live.

        False when the peer reads too slowly, or too much has been said meanwhile.
        """
        self._joined[effect.address] = None
        outcome, gate = await self._hub.recover(effect.address, self._member, effect.since)
        try:
            frames = chain(replay(effect.ref, outcome), gate.release())
            for told, _ in enumerate(frames, 1):
                if not told % AT_ONCE:
                    await asyncio.sleep(0)
                if not await peer.outbound.room(lambda: gate.overrun):
                    return False
            return True
        finally:
            gate.open()

    def join_here(self, *found: Address) -> None:
        """For addresses that only this process or an announcement speaks to."""
        for address in found:
            self._joined[address] = None
            self._hub.join_here(address, self._member)

    def join_own(self) -> None:
        self.join_here(*self._own)

    async def join_as(self, principal: Principal, wanted: Iterable[Address]) -> None:
        """Where this identity can be revoked, then where it wants to listen."""
        for name in principal.handles:  # revocations are announced: no subscription on the wire
            self.join_here(addresses.handle(name))
        for address in wanted:
            await self.join(address)

    async def leave_all_but(self, principal: Principal, wanted: Iterable[Address]) -> None:
        """Leave what belongs to an older identity of the connection."""
        handles = {addresses.handle(name) for name in principal.handles}
        await self.leave(self.all - {*self._own, *handles, *wanted})

    async def leave(self, left: Iterable[Address]) -> None:
        for address in list(left):
            self._joined.pop(address, None)
            await self._hub.leave(address, self._member)
