"""The built-in agent: says back what it is told. `slow N` takes N seconds, up to 600."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from sessions_app.agents.base import Turn

MAX_SLOW_S = 600.0
_SLOW = re.compile(r"\s*slow\s+(\d{1,9}(?:\.\d{1,9})?)\s*", re.IGNORECASE)
_WORD = re.compile(r"\s*\S+|\s+$")
# A long text goes in longer pieces: every piece is an event to every socket of the user.
MAX_PIECES = 500


def slow_seconds(message: str) -> float | None:
    """N of the text `slow N`, at most 600; None for any other text."""
    match = _SLOW.fullmatch(message)
    return min(float(match[1]), MAX_SLOW_S) if match else None


class Echo:
    """Echo in words; counts words as tokens."""

    name = "Echo"
    model = "echo"
    provider = "builtin"

    async def run(self, turn: Turn) -> AsyncIterator[str]:
        turn.spend(prompt=len(turn.message.split()))
        seconds = slow_seconds(turn.message)
        pieces = _words(turn.message) if seconds is None else _ticks(turn, seconds)
        async with aclosing(pieces):
            async for piece in pieces:
                yield _spoken(turn, piece)
        while not turn.injected.empty():
            yield _spoken(turn, _heard(turn, turn.injected.get_nowait()))


async def _words(text: str) -> AsyncGenerator[str, None]:
    words = _WORD.findall(text)
    size = -(-len(words) // MAX_PIECES) or 1
    for start in range(0, len(words), size):
        yield "".join(words[start : start + size])
        # Lets the event loop deliver an abort or an injection between two words.
        await asyncio.sleep(0)


async def _ticks(turn: Turn, seconds: float) -> AsyncGenerator[str, None]:
    """Count aloud until `seconds` have passed; say at once what is injected meanwhile."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + seconds
    step_s = min(0.5, max(0.1, seconds / 20))
    count = 0
    yield f"slow {seconds:g}:"
    while (left_s := ends_at - loop.time()) > 0:
        try:
            async with asyncio.timeout(min(step_s, left_s)):  # `wait_for` may lose an abort
                text = await turn.injected.get()
        except TimeoutError:
            count += 1
            yield f" {count}"
        else:
            yield _heard(turn, text)


def _heard(turn: Turn, text: str) -> str:
    turn.spend(prompt=len(text.split()))
    return f"\n{text}\n"


def _spoken(turn: Turn, piece: str) -> str:
    turn.spend(completion=len(piece.split()))
    return piece
