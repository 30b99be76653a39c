"""The agent of sessions that a worker serves from outside, over 002. PROTOCOLS.md 6."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sessions_app.agents.base import Turn


class Worker:
    """Its turns are given to the worker, never run here: `sessions_app.services.workers`."""

    name = "Worker"
    model = "worker"
    provider = "worker"

    async def run(self, turn: Turn) -> AsyncIterator[str]:
        raise AssertionError("a worker's turns are not run by this process")
        yield ""
