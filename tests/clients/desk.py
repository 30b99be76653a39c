"""A Python `EdgeAgent` with short times, and what a test wants to know of it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

from tests.clients.far_end import PATIENCE_S
from trunkline_client import EdgeAgent, Replaced, Timing

SECRET = "a-secret-that-nobody-may-see"
QUICK = Timing(
    ping_every_s=0.05, pong_within_s=30.0, first_delay_s=0.01, longest_delay_s=0.08, jitter=0.0
)
NOON = 1_763_208_000.0  # 2025-11-15T12:00:00Z


class Clock:
    """The wall clock of the agent's computer."""

    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> float:
        return self.at


class Desk:
    """An agent with what a test wants to know of it. Its handlers note what they did."""

    def __init__(self, url: str, folder, **options) -> None:
        self.acted: list[str] = []
        self.told: list[tuple[str, dict]] = []
        self.clock = Clock()
        self.begun, self.gate = asyncio.Event(), asyncio.Event()
        given = {
            "secret": SECRET,
            "ledger": folder / "ledger.sqlite3",
            "timing": QUICK,
            "confirm_after_s": 0.0,
            "now": self.clock,
            "observer": lambda what, data: self.told.append((what, dict(data))),
            "options": {"proxy": None},
        }
        self.agent = EdgeAgent(url, "edge_1", **{**given, **options})
        for kind in ("note", "schedule_message"):
            self.agent.on(kind)(lambda command: self.acted.append(command.id))

        @self.agent.on("slow")
        async def slow(command):
            self.begun.set()
            await self.gate.wait()
            self.acted.append(command.id)

    def of(self, what: str) -> list[dict]:
        return [data for kind, data in self.told if kind == what]

    @asynccontextmanager
    async def at_work(self):
        task = asyncio.create_task(self.agent.run())
        try:
            yield task
        finally:
            if task.done():
                with suppress(Replaced):
                    task.result()
            self.agent.stop()
            self.gate.set()
            with suppress(Replaced):
                await asyncio.wait_for(task, PATIENCE_S)
