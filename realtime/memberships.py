"""Memberships: the addresses that one connection hears."""

from __future__ import annotations

from collections.abc import Iterable

from realtime.bus.hub import Hub, Member
from realtime.core.addresses import Address


class Memberships:
    """`member` is told what is said at each of the addresses."""

    def __init__(self, hub: Hub, member: Member) -> None:
        self._hub = hub
        self._member = member
        self._joined: dict[Address, None] = {}

    @property
    def all(self) -> set[Address]:
        return set(self._joined)

    async def join(self, address: Address) -> None:
        self._joined[address] = None
        await self._hub.join(address, self._member)

    def join_here(self, *found: Address) -> None:
        """For addresses that only this process or an announcement speaks to."""
        for address in found:
            self._joined[address] = None
            self._hub.join_here(address, self._member)

    async def leave(self, addresses: Iterable[Address]) -> None:
        for address in list(addresses):
            self._joined.pop(address, None)
            await self._hub.leave(address, self._member)
