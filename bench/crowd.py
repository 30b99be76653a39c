"""Clients of 003 and 004 in this process, that only listen or count."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any
from urllib.parse import quote

import jwt
from websockets.asyncio.client import ClientConnection, connect

from tests.services import Serve
from tests.services.people import key_of

PATIENCE_S = 60.0
AT_A_TIME = 50  # handshakes


def group_url(server: Serve, group: str, client: str) -> str:
    base = server.url.replace("http", "ws")
    path = f"/v3/ws/group/{quote(group, safe='')}/client/{quote(client, safe='')}"
    return f"{base}{path}?api_key={key_of('alice')}"


def topics_url(server: Serve, user: str) -> str:
    token = jwt.encode({"userId": user, "role": "agent"}, server.environ["NEXUS_JWT_SECRET"])
    return f"{server.url.replace('http', 'ws')}/nexus/ws?token={token}"


@contextlib.asynccontextmanager
async def crowd(urls: Iterable[str]) -> AsyncIterator[list[ClientConnection]]:
    """A socket for each, all open at the same time."""
    async with contextlib.AsyncExitStack() as stack:
        door = asyncio.Semaphore(AT_A_TIME)

        async def come(url: str) -> ClientConnection:
            async with door:
                return await stack.enter_async_context(
                    connect(
                        url,
                        proxy=None,
                        compression=None,
                        open_timeout=PATIENCE_S,
                        close_timeout=1,
                        ping_interval=None,
                        max_queue=None,
                    )
                )

        yield list(await asyncio.gather(*[come(url) for url in urls]))


async def say(socket: ClientConnection, **frame: Any) -> None:
    await socket.send(json.dumps(frame))


async def hear(socket: ClientConnection, count: int) -> None:
    """So many frames more."""
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(count):
            await socket.recv(decode=False)


async def hear_all(sockets: Iterable[ClientConnection], count: int) -> None:
    await asyncio.gather(*[hear(socket, count) for socket in sockets])
