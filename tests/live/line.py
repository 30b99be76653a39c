"""A client's socket: what comes over it is kept, in its order, and can be waited for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

PATIENCE_S = 30.0
SOON_S = 10.0  # what takes less than two seconds, on a busy machine

Frame = dict[str, Any]


class Line:
    """`async with Line(url) as line`."""

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self.options = {"open_timeout": PATIENCE_S, "close_timeout": 2, "proxy": None, **options}
        self.frames: list[Frame] = []
        self._arrived = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self.socket: ClientConnection = await connect(self.url, **self.options)
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *details: Any) -> None:
        await self.socket.close()
        await self._reader

    async def _read(self) -> None:
        try:
            async for text in self.socket:
                async with self._arrived:
                    self.frames.append(json.loads(text))
                    self._arrived.notify_all()
        except ConnectionClosed:
            pass
        finally:
            async with self._arrived:
                self._arrived.notify_all()

    async def frame(self, wanted: Callable[[Frame], bool], within_s: float = PATIENCE_S) -> Frame:
        """The first frame that is wanted, come or coming."""
        found = await self.all_of(wanted, 1, within_s)
        return found[0]

    async def all_of(
        self, wanted: Callable[[Frame], bool], count: int, within_s: float = PATIENCE_S
    ) -> list[Frame]:
        """The frames that are wanted, when there are `count` of them."""

        found: list[Frame] = []
        looked_at = 0

        def enough() -> bool:
            nonlocal looked_at
            found.extend(frame for frame in self.frames[looked_at:] if wanted(frame))
            looked_at = len(self.frames)
            return len(found) >= count

        async with self._arrived:
            await asyncio.wait_for(
                self._arrived.wait_for(lambda: enough() or self._reader.done()), within_s
            )
        assert len(found) >= count, f"closed before it came; frames: {self.frames}"
        return found

    async def closed(self, within_s: float = PATIENCE_S) -> tuple[int, str]:
        """Wait for the server's close: its code and reason."""
        await asyncio.wait_for(self.socket.wait_closed(), within_s)
        return self.socket.close_code or 0, self.socket.close_reason or ""
