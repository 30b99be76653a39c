"""What the fault tests start, and how they queue commands through all of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.chaos import checker
from tests.services import Dispatcher, Serve
from tests.services.people import key_of

FULL = bool(os.environ.get("CHAOS_FULL"))  # `make chaos`
ALICE = {"Authorization": f"Bearer {key_of('alice')}"}


def count(fast: int, full: int) -> int:
    return full if FULL else fast


class FaultyServe(Serve):
    """`serve` with the fault that FAULT and CLOCK name (see `faulty`)."""

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "tests.chaos.faulty", *list(super().command())[2:]]


class FaultyDispatcher(Dispatcher):
    """`dispatch_commands`, likewise."""

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "tests.chaos.faulty", *list(super().command())[2:]]


@dataclass
class Answer:
    status: int
    began_s: float  # monotonic
    took_s: float
    retry_after: str = ""

    @property
    def ended_s(self) -> float:
        return self.began_s + self.took_s


@dataclass
class Caller:
    """Queues commands; each request again, with the same key, until it is answered with an id."""

    urls: Sequence[str]
    agents: Sequence[str]
    within_s: float = 60.0
    name: str = field(default_factory=lambda: secrets.token_hex(4))  # in its keys
    accepted: dict[str, str] = field(default_factory=dict)  # key -> id
    answers: list[Answer] = field(default_factory=list)
    _numbers: Any = field(default_factory=itertools.count)

    async def send(self, number: int, at_once: int = 4, **fields: Any) -> list[str]:
        """The ids of so many new commands, in the order they were numbered in."""
        gate = asyncio.Semaphore(at_once)
        async with httpx.AsyncClient(headers=ALICE, timeout=30) as http:

            async def one() -> str:
                async with gate:
                    return await self._until_accepted(http, next(self._numbers), fields)

            return await asyncio.gather(*[one() for _ in range(number)])

    @contextlib.asynccontextmanager
    async def steadily(self, per_s: float) -> AsyncIterator[None]:
        """Ask for so many new commands a second, whatever becomes of the ones before, until the
        end of the block; all are accepted then.
        """
        limits = httpx.Limits(max_connections=None)
        async with (
            httpx.AsyncClient(headers=ALICE, timeout=30, limits=limits) as http,
            asyncio.TaskGroup() as requests,
        ):

            async def ask() -> None:
                while True:
                    requests.create_task(self._until_accepted(http, next(self._numbers), {}))
                    await asyncio.sleep(1 / per_s)

            asking = requests.create_task(ask())
            yield
            asking.cancel()

    async def _until_accepted(
        self, http: httpx.AsyncClient, number: int, fields: dict[str, Any]
    ) -> str:
        key = f"{self.name}-{number}"
        asked = {
            "agent_id": self.agents[number % len(self.agents)],
            "command_type": "set_rule",
            "payload": {"n": number},
            "idempotency_key": key,
            **fields,
        }
        deadline = time.monotonic() + self.within_s
        for attempt in itertools.count():
            assert time.monotonic() < deadline, f"{key} was never accepted"
            url = self.urls[(number + attempt) % len(self.urls)]
            began_s = time.monotonic()
            try:
                answer = await http.post(f"{url}/api/edge/commands/", json=asked)
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                continue
            took_s = time.monotonic() - began_s
            again = answer.headers.get("Retry-After", "")
            self.answers.append(Answer(answer.status_code, began_s, took_s, again))
            if answer.status_code in (200, 201):
                command: str = answer.json()["command_id"]
                assert self.accepted.setdefault(key, command) == command
                return command
            assert answer.status_code == 503, answer.text
            await asyncio.sleep(0.1)
        raise AssertionError


async def ended(
    url: str, within_s: float = 60.0, *, meanwhile: Callable[[], object] = lambda: None
) -> None:
    """Wait until no command is open; `meanwhile` is called, in a thread, at every look."""
    deadline = time.monotonic() + within_s
    while left := (await asyncio.to_thread(checker.read, url)).open:
        assert time.monotonic() < deadline, f"{len(left)} commands are still open: {left}"
        await asyncio.to_thread(meanwhile)
        await asyncio.sleep(0.1)


async def at_once(*starts: Callable[[], Serve]) -> list[Serve]:
    """Started beside each other: each takes its time."""
    return await asyncio.gather(*[asyncio.to_thread(start) for start in starts])


async def eventually(
    condition: Callable[[], bool], within_s: float = 30.0, what: str = "what was waited for"
) -> None:
    """As `until`, of what may take its time in a thread."""
    deadline = time.monotonic() + within_s
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, f"no {what} within {within_s:g} s"
        await asyncio.sleep(0.02)


def ws(*servers: Serve) -> list[str]:
    return [server.url.replace("http", "ws") for server in servers]
