"""Memberships: the addresses that one connection hears."""

from __future__ import annotations

from collections.abc import Iterable

from realtime.bus.history.gate import Gate
from realtime.bus.hub import Hub, Member
from realtime.core import addresses
from realtime.core.addresses import Address
from realtime.core.history import Gap, Position, Recovered
from realtime.core.principal import Principal

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

    async def recover(
        self, address: Address, after: Position | None
    ) -> tuple[Recovered | Gap, Gate]:
        """As `Hub.recover`: open the gate when what was missed has been told."""
        self._joined[address] = None
        return await self._hub.recover(address, self._member, after)

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
