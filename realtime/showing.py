"""Showing: the open admin pages are told that connections have changed, a few times a second."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from realtime.bus.hub import Hub
from realtime.core import addresses
from realtime.core.events import CHANGED, Event

EVERY_S = 0.25  # however many connections come and go, one hint in that time


class Showing:
    """What changed since the last hint, by account. Belongs to one event loop."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._touched: set[str] = set()
        self._some = asyncio.Event()

    def touch(self, accounts: Iterable[str]) -> None:
        """The rows of these accounts are not what the pages show any more."""
        self._touched.update(accounts)
        if self._touched:
            self._some.set()

    async def next(self) -> None:
        """Wait for a change, then for those that come along with it."""
        await self._some.wait()
        await asyncio.sleep(EVERY_S)

    async def tell(self) -> None:
        """One hint for all that has changed."""
        touched, self._touched = self._touched, set()
        self._some.clear()
        if touched:
            targets = [addresses.pages(account) for account in sorted(touched)]
            hint = Event(CHANGED, {"what": "connections"})
            self._hub.publish([*targets, addresses.every_page()], hint)
