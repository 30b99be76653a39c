"""A Python `SessionClient` with short times, and all that it told."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.clients.far_end import PATIENCE_S, until
from trunkline_client import Connected, SessionClient, Timing

QUICK = Timing(ping_every_s=0.05, pong_within_s=30.0, first_delay_s=0.01, jitter=0)


class Viewer:
    """A client and all that it told."""

    def __init__(self, server: Any, **options: Any) -> None:
        given = {"token": "secret", "timing": QUICK, "options": {"proxy": None}, **options}
        self.client = SessionClient(server.url, "session_1", **given)
        self.told: list[Any] = []
        self.error: Exception | None = None

    @asynccontextmanager
    async def watching(self):
        async with self.client:
            reading = asyncio.create_task(self._read())
            yield self
        await asyncio.wait_for(reading, PATIENCE_S)

    async def _read(self) -> None:
        try:
            async for event in self.client:
                self.told.append(event)
        except Exception as error:
            self.error = error

    def of(self, kind: type) -> list[Any]:
        return [one for one in self.told if isinstance(one, kind)]

    @property
    def uuids(self) -> list[str]:
        return [frame["uuid"] for frame in self.of(dict) if "uuid" in frame]

    async def connected(self, times: int = 1) -> None:
        await until(lambda: len(self.of(Connected)) >= times, f"connection {times}")

    async def over(self) -> Exception:
        error: Exception = await until(lambda: self.error, "the end")
        return error


def events(*uuids: str) -> list[dict]:
    return [{"type": "assistant", "uuid": uuid} for uuid in uuids]


def query(visit: Any) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(visit.path).query).items()}


def asked(visit: Any) -> list[dict]:
    """What was said on a connection, but for signs of life and the look at open questions."""
    return [
        frame
        for frame in visit.frames
        if frame["type"] != "keep_alive" and frame.get("request") != {"subtype": "initialize"}
    ]
