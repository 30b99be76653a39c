"""The three people of every live test, and a second tenant."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.live.client import Client
from tests.services import Serve

Join = Callable[..., Awaitable[Client]]


@pytest.fixture
async def join() -> AsyncIterator[Join]:
    """`await join(server, **connect params)`: a connected client; without params, one that has not
    said `connect` yet. All are closed at the end."""
    async with AsyncExitStack() as stack:

        async def enter(server: Serve, *, options: Any = None, **params: Any) -> Client:
            client = await stack.enter_async_context(Client(server.ws_url, **(options or {})))
            if params:
                await client.ask("connect", **params)
            return client

        yield enter
