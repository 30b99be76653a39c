"""A client of 003 written from docs/protocols/aether.md alone: one socket in one group."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

from tests.live.line import Line
from tests.services import Serve
from tests.services.people import key_of


def url_of(server: Serve, group: str, client: str, **query: str) -> str:
    base = server.ws_url.removesuffix("/ws")
    path = f"/v3/ws/group/{quote(group, safe='')}/client/{quote(client, safe='')}"
    return f"{base}{path}" + (f"?{urlencode(query)}" if query else "")


class Member(Line):
    """`async with Member(server, "alice", "g", "c") as member`; messages are kept in `heard`."""

    def __init__(self, server: Serve, who: str, group: str, client: str, **options: Any) -> None:
        super().__init__(url_of(server, group, client, api_key=key_of(who)), **options)
        self.group, self.client = group, client

    @property
    def heard(self) -> list[dict[str, Any]]:
        return self.frames

    async def say(self, target: str, msg: str | None = None, **fields: Any) -> None:
        said = {"msg_type": "msg", "target": target, "msg": msg, **fields}
        await self.socket.send(json.dumps(said))

    async def until(self, **wanted: Any) -> dict[str, Any]:
        """The first message with these fields, come or coming."""
        return await self.frame(lambda message: wanted.items() <= message.items())

    async def many(self, count: int) -> None:
        """So many messages have come."""
        await self.all_of(lambda _: True, count)

    async def echo(self, word: str = "fence") -> dict[str, Any]:
        """Everything said so far has been dealt with where this client is."""
        await self.say("echo", word)
        return await self.until(msg=word, target="echo", from_id=self.client)
