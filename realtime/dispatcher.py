"""Dispatcher: wakes when something may be due, claims it, and tells the agents' sockets.

Right with every hint lost: the database is read at each poll, and sockets that seem not to have
heard are told again through an announcement. Any number may run beside each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence

from realtime.bus.announce import announce_all
from realtime.bus.hub import Hub
from realtime.core import addresses
from realtime.core.events import COMMANDS_DUE, Event
from realtime.threads import housekeeping
from sessions_app.services import bulk, claims
from sessions_app.services.claims import Pair

POLL_S = 1.0  # at the latest then everything is looked at
POLL_EMBEDDED_S = 0.25
MAX_HINTS = 1000  # with more, everything is looked at at once


class Dispatcher:
    """`name` is what its leases are under. `wait` and `work` in turn, in one event loop."""

    def __init__(self, hub: Hub, *, name: str, poll_s: float = POLL_S) -> None:
        self._hub = hub
        self._name = name
        self._poll_s = poll_s
        self._woken = asyncio.Event()
        self._hinted: set[int] = set()
        self._look_at = 0.0  # monotonic: when everything is looked at
        self._due_at = 0.0  # monotonic: when the next command is due, or the next look is

    def start(self) -> None:
        self._hub.join_here(addresses.dispatchers(), self._told)

    async def stop(self) -> None:
        await self._hub.leave(addresses.dispatchers(), self._told)

    async def wait(self) -> None:
        """Until a hint, or until it is time."""
        left_s = max(0.0, min(self._look_at, self._due_at) - time.monotonic())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await self._woken.wait()
        self._woken.clear()

    async def work(self) -> None:
        """Claim what is due: of the agents hinted at, or of all when it is time for that."""
        hinted, self._hinted = self._hinted, set()
        now_s = time.monotonic()
        everyone = now_s >= min(self._look_at, self._due_at) or len(hinted) > MAX_HINTS
        look = now_s >= self._look_at
        # First of all: with the database away nothing is tried more often than that.
        self._due_at = now_s + self._poll_s
        if look:
            self._look_at = self._due_at
            await self._tidy()
        pairs = await housekeeping(
            claims.claim, dispatcher=self._name, agents=None if everyone else hinted
        )
        await self._tell(pairs)
        # With something found there may be more.
        left_s = 0.0 if pairs else await housekeeping(claims.next_due_in_s)
        self._due_at = self._look_at if left_s is None else time.monotonic() + left_s

    async def _tidy(self) -> None:
        for sweep in (claims.expire, claims.return_lapsed, claims.bury):
            await housekeeping(sweep)
        if await housekeeping(bulk.work):
            self._look_at = 0.0  # there is more of it
        await self._announce(await housekeeping(claims.overdue))

    def _told(self, event: Event) -> None:
        self._hinted.add(event.data["agent"])
        self._woken.set()

    async def _tell(self, pairs: Sequence[Pair]) -> None:
        """Quickly: a hint that gets lost is made good by the next look. With the bus lost,
        through the database.
        """
        if not self._hub.connected:
            await self._announce(pairs)
            return
        for pair in pairs:
            self._hub.publish([addresses.agent(*pair)], Event(COMMANDS_DUE))

    async def _announce(self, pairs: Sequence[Pair]) -> None:
        if pairs:
            facts = [([addresses.agent(*pair)], Event(COMMANDS_DUE)) for pair in pairs]
            await housekeeping(announce_all, facts)
