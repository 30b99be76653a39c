"""How long an agent waits for an endpoint, and how long an endpoint asks it to wait."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime

from sessions_app.agents.base import AgentFailed


class Silence(AgentFailed):
    """A time limit is over. Not tried again: what was slow is slow the next time."""


class Clock:
    """The time that is left of a whole run."""

    def __init__(self, whole_s: float) -> None:
        self._whole_s = whole_s
        self._ends_at = asyncio.get_running_loop().time() + whole_s

    def has(self, wait_s: float) -> bool:
        return asyncio.get_running_loop().time() + wait_s < self._ends_at

    @asynccontextmanager
    async def allow(self, within_s: float, complaint: str) -> AsyncIterator[None]:
        """Raises Silence when `within_s` seconds, or the whole run's, are over."""
        at = asyncio.get_running_loop().time() + within_s
        if at > self._ends_at:
            at, complaint = self._ends_at, f"had not finished after {self._whole_s:g} s"
        try:
            async with asyncio.timeout_at(at):
                yield
        except TimeoutError:
            raise Silence(f"the model's endpoint {complaint}") from None


def asked_s(given: str) -> float:
    """What a `Retry-After` asks for, in seconds; 0 without a sensible one."""
    if given.isascii() and given.isdigit():
        return float(given[:9])
    try:
        at = parsedate_to_datetime(given)
        return max(0.0, (at - dt.datetime.now(dt.UTC)).total_seconds())
    except (ValueError, TypeError):  # no date, or one without a zone
        return 0.0
