"""A client of 002 written from docs/protocols/remote.md alone: a socket, its frames in order."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

from tests.live.line import Line
from tests.services import Serve


def url_of(server: Serve, session: str, part: str = "subscribe", **query: str) -> str:
    path = f"/v1/sessions/ws/{quote(session, safe='')}/{part}"
    base = server.ws_url.removesuffix("/ws")
    return f"{base}{path}?{urlencode(query)}" if query else base + path


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class Viewer(Line):
    """`async with Viewer(server, session, token, **query) as viewer`; frames are kept."""

    part = "subscribe"

    def __init__(
        self, server: Serve, session: str, token: str = "", headers: Any = None, **query: str
    ) -> None:
        shown = {**(bearer(token) if token else {}), **(headers or {})}
        super().__init__(
            url_of(server, session, self.part, **query),
            origin=shown.pop("Origin", None),
            additional_headers=shown,
            max_size=None,
        )

    async def send(self, *frames: dict[str, Any]) -> None:
        await self.socket.send("\n".join(json.dumps(frame) for frame in frames))

    async def say(self, text: str, uuid: str) -> None:
        message = {"role": "user", "content": text}
        await self.send({"type": "user", "uuid": uuid, "session_id": "", "message": message})

    async def control(self, request_id: str, **request: Any) -> None:
        await self.send({"type": "control_request", "request_id": request_id, "request": request})

    async def answer_to(self, request_id: str) -> dict[str, Any]:
        """The inner object of the answer to one of ours."""
        frame = await self.frame(
            lambda f: f["type"] == "control_response" and f["response"]["request_id"] == request_id
        )
        inner: dict[str, Any] = frame["response"]
        return inner

    async def initialized(self) -> dict[str, Any]:
        """Ask what is asked first; whoever has the answer has seen the door open."""
        await self.control("init", subtype="initialize")
        return await self.answer_to("init")

    async def of(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """The frames of a type, when there are `count` of them."""
        return await self.all_of(lambda frame: frame["type"] == kind, count)

    async def entered(self) -> None:
        """It has been told what was stored for it, and hears whatever comes from now on."""
        answers = [frame for frame in self.frames if frame["type"] == "keep_alive"]
        await self.send({"type": "keep_alive"})
        await self.of("keep_alive", len(answers) + 1)

    @property
    def events(self) -> list[dict[str, Any]]:
        """All but the answers to `keep_alive`."""
        return [frame for frame in self.frames if frame["type"] != "keep_alive"]

    @property
    def stored(self) -> list[str]:
        """The uuids of the stored events, in the order they came."""
        return [f["uuid"] for f in self.frames if f["type"] in {"user", "assistant", "result"}]
