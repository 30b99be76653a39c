"""What a protocol asks for by itself: each once while it waits, one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from realtime.core.effects import Ask, Resume

Carry = Callable[[Ask | Resume], Awaitable[None]]


class Asks:
    """One task for any number of asks; it ends when none waits."""

    __slots__ = ("_dropped", "_task", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[Ask | Resume, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._dropped = False

    def put(self, ask: Ask | Resume, carry: Carry) -> None:
        if self._dropped:
            return
        self._waiting[ask] = None
        if self._task is None:
            self._task = asyncio.create_task(self._work(carry))

    def drop(self) -> None:
        """What has not begun is not asked any more, nor what would follow."""
        self._dropped = True
        self._waiting = {}

    async def _work(self, carry: Carry) -> None:
        try:
            while self._waiting:
                ask = next(iter(self._waiting))
                del self._waiting[ask]
                await carry(ask)
        finally:
            self._task = None
            if not self._waiting:
                self._waiting = {}  # an emptied dictionary would keep its room
