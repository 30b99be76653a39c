"""A client of 002 written from docs/protocols/remote.md alone: a socket, its frames in order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.services import Serve

PATIENCE_S = 15.0


def url_of(server: Serve, session: str, part: str = "subscribe", **query: str) -> str:
    path = f"/v1/sessions/ws/{quote(session, safe='')}/{part}"
    base = server.ws_url.removesuffix("/ws")
    return f"{base}{path}?{urlencode(query)}" if query else base + path


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class Viewer:
    """`async with Viewer(server, session, token, **query) as viewer`; frames are kept."""

    part = "subscribe"

    def __init__(
        self, server: Serve, session: str, token: str = "", headers: Any = None, **query: str
    ) -> None:
        self.url = url_of(server, session, self.part, **query)
        self.headers = {**(bearer(token) if token else {}), **(headers or {})}
        self.frames: list[dict[str, Any]] = []
        self._arrived = asyncio.Condition()

    async def __aenter__(self) -> Any:
        headers = dict(self.headers)
        options: Any = {"origin": headers.pop("Origin")} if "Origin" in headers else {}
        self.socket: ClientConnection = await connect(
            self.url, additional_headers=headers, proxy=None, max_size=None, **options
        )
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

    async def frame(
        self, wanted: Callable[[dict[str, Any]], bool], within_s: float = PATIENCE_S
    ) -> dict[str, Any]:
        """The first frame that is wanted, come or coming."""

        def found() -> dict[str, Any] | None:
            return next((frame for frame in self.frames if wanted(frame)), None)

        async with self._arrived:
            await asyncio.wait_for(
                self._arrived.wait_for(lambda: found() or self._reader.done()), within_s
            )
        frame = found()
        assert frame is not None, f"closed before it came: {self.socket.close_code}"
        return frame

    async def of(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """The frames of a type, when there are `count` of them."""

        def enough() -> list[dict[str, Any]]:
            return [frame for frame in self.frames if frame["type"] == kind]

        async with self._arrived:
            await asyncio.wait_for(
                self._arrived.wait_for(lambda: len(enough()) >= count), PATIENCE_S
            )
        return enough()

    async def closed(self, within_s: float = PATIENCE_S) -> tuple[int, str]:
        await asyncio.wait_for(self.socket.wait_closed(), within_s)
        return self.socket.close_code or 0, self.socket.close_reason or ""

    @property
    def stored(self) -> list[str]:
        """The uuids of the stored events, in the order they came."""
        return [f["uuid"] for f in self.frames if f["type"] in {"user", "assistant", "result"}]
