"""What was heard and waits to be read."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

E = TypeVar("E")


class Inbox(Generic[E]):
    """`put` waits while `most` are unread: so does the connection, and at last the server."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: deque[E] = deque()
        self._some, self._room = asyncio.Event(), asyncio.Event()
        self._ended = False
        self._error: Exception | None = None

    async def put(self, item: E) -> None:
        while len(self._items) >= self._most and not self._ended:
            self._room.clear()
            await self._room.wait()
        self.note(item)

    def note(self, item: E) -> None:
        """Without waiting: for what is rare. Where nobody reads, the newest of its kind remain."""
        if self._ended:
            return
        if len(self._items) >= self._most:
            oldest = next((one for one in self._items if type(one) is type(item)), None)
            if oldest is not None:
                self._items.remove(oldest)
        self._items.append(item)
        self._some.set()

    async def get(self) -> E:
        """Raises StopAsyncIteration after the last one, or what the end came with."""
        while not self._items:
            if self._ended:
                raise self._error or StopAsyncIteration
            self._some.clear()
            await self._some.wait()
        item = self._items.popleft()
        self._room.set()
        return item

    def end(self, error: Exception | None = None) -> None:
        """Nothing more will come; what is there can still be read."""
        if not self._ended:
            self._ended, self._error = True, error
        self._some.set()
        self._room.set()
