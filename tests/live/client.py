"""A client of 001 written from docs/protocols/goclaw.md alone: one socket, requests and events."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

PATIENCE_S = 10.0


class Client:
    """`async with Client(url) as client`. Frames are kept in `frames` in the order they came."""

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self.options = {"open_timeout": PATIENCE_S, "close_timeout": 2, "proxy": None, **options}
        self.frames: list[dict[str, Any]] = []
        self._numbers = itertools.count(1)
        self._arrived = asyncio.Condition()

    async def __aenter__(self) -> Client:
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

    async def send(self, method: str, **params: Any) -> str:
        """Send a request without waiting; its id."""
        number = str(next(self._numbers))
        frame = {"type": "req", "id": number, "method": method, "params": params}
        await self.socket.send(json.dumps(frame))
        return number

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer's payload; AssertionError for a refusal."""
        answer = await self.answer(await self.send(method, **params))
        assert answer["ok"], answer
        payload: dict[str, Any] = answer.get("payload", {})
        return payload

    async def refused(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer's error; AssertionError for an ok."""
        answer = await self.answer(await self.send(method, **params))
        assert not answer["ok"], answer
        error: dict[str, Any] = answer["error"]
        return error

    async def answer(self, number: str) -> dict[str, Any]:
        return await self.frame(lambda f: f["type"] == "res" and f["id"] == number)

    async def event(self, name: str, kind: str = "") -> dict[str, Any]:
        """The payload of the first event `name` (with payload type `kind`), come or coming."""
        frame = await self.frame(
            lambda f: f.get("event") == name and (not kind or f["payload"].get("type") == kind)
        )
        payload: dict[str, Any] = frame["payload"]
        return payload

    async def run_event(self, run_id: str, kind: str, within_s: float = PATIENCE_S) -> None:
        """Wait for an `agent` event of one run."""
        await self.frame(lambda _: kind in self.run_events(run_id), within_s)

    async def frame(
        self, wanted: Callable[[dict[str, Any]], bool], within_s: float = PATIENCE_S
    ) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            return next((frame for frame in self.frames if wanted(frame)), None)

        async with self._arrived:
            await asyncio.wait_for(
                self._arrived.wait_for(lambda: found() or self._reader.done()), within_s
            )
        frame = found()
        assert frame is not None, f"closed before it came; frames: {self.frames}"
        return frame

    async def closed(self, within_s: float = PATIENCE_S) -> tuple[int, str]:
        """Wait for the server's close: its code and reason."""
        await asyncio.wait_for(self.socket.wait_closed(), within_s)
        return self.socket.close_code or 0, self.socket.close_reason or ""

    def run_events(self, run_id: str) -> list[str]:
        return [
            frame["payload"]["type"]
            for frame in self.frames
            if frame.get("event") == "agent" and frame["payload"]["runId"] == run_id
        ]
