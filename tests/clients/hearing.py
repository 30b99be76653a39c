"""What a client of topics or groups tells its program."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from tests.clients.far_end import PATIENCE_S


async def hear(client: AsyncIterator[Any], count: int, *kinds: type) -> list[Any]:
    """The next events of these kinds."""
    found: list[Any] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < count:
            event = await anext(client)
            if isinstance(event, kinds):
                found.append(event)
    return found
