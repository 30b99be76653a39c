"""A client of 003 written from docs/protocols/aether.md alone: one socket in one group."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote, urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.services import Serve
from tests.services.people import key_of

PATIENCE_S = 10.0


def url_of(server: Serve, group: str, client: str, **query: str) -> str:
    base = server.ws_url.removesuffix("/ws")
    path = f"/v3/ws/group/{quote(group, safe='')}/client/{quote(client, safe='')}"
    return f"{base}{path}" + (f"?{urlencode(query)}" if query else "")


class Member:
    """`async with Member(server, "alice", "g", "c") as member`; messages are kept in `heard`."""

    def __init__(self, server: Serve, who: str, group: str, client: str, **options: Any) -> None:
        self.group, self.client = group, client
        self.url = url_of(server, group, client, api_key=key_of(who))
        self.options = {"open_timeout": PATIENCE_S, "close_timeout": 2, "proxy": None, **options}
        self.heard: list[dict[str, Any]] = []
        self._arrived = asyncio.Condition()

    async def __aenter__(self) -> Member:
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
                    self.heard.append(json.loads(text))
                    self._arrived.notify_all()
        except ConnectionClosed:
            pass
        finally:
            async with self._arrived:
                self._arrived.notify_all()

    async def say(self, target: str, msg: str | None = None, **fields: Any) -> None:
        said = {"msg_type": "msg", "target": target, "msg": msg, **fields}
        await self.socket.send(json.dumps(said))

    async def until(self, **wanted: Any) -> dict[str, Any]:
        """The first message with these fields, come or coming."""

        def found() -> dict[str, Any] | None:
            return next((m for m in self.heard if wanted.items() <= m.items()), None)

        async with self._arrived:
            await asyncio.wait_for(
                self._arrived.wait_for(lambda: found() or self._reader.done()), PATIENCE_S
            )
        message = found()
        assert message is not None, f"closed before it came; heard: {self.heard}"
        return message

    async def many(self, count: int) -> None:
        """So many messages have come."""
        async with self._arrived:
            enough = self._arrived.wait_for(lambda: len(self.heard) >= count)
            await asyncio.wait_for(enough, PATIENCE_S)

    async def echo(self, word: str = "fence") -> dict[str, Any]:
        """Everything said so far has been dealt with where this client is."""
        await self.say("echo", word)
        return await self.until(msg=word, target="echo", from_id=self.client)

    async def closed(self) -> tuple[int, str]:
        await asyncio.wait_for(self.socket.wait_closed(), PATIENCE_S)
        return self.socket.close_code or 0, self.socket.close_reason or ""
