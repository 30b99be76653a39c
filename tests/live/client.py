"""A client of 001 written from docs/protocols/goclaw.md alone: one socket, requests and events."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

from tests.live.line import PATIENCE_S, Line


class Client(Line):
    """`async with Client(url) as client`. Frames are kept in `frames` in the order they came."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._numbers = itertools.count(1)

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

    async def guess_on(self) -> None:
        """Guess tokens until this address has to wait: one more is allowed every six seconds."""
        async with asyncio.timeout(PATIENCE_S):
            while (await self.refused("connect", token="guess")).get("retryAfterMs", 0) < 3000:
                continue

    def run_events(self, run_id: str) -> list[str]:
        return [
            frame["payload"]["type"]
            for frame in self.frames
            if frame.get("event") == "agent" and frame["payload"]["runId"] == run_id
        ]
