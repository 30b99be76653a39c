"""What an agent is: one async generator. Pure asyncio: no Django, no database, no sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol


def no_usage() -> dict[str, int]:
    """The `usage` object of PROTOCOLS.md 2.7, with nothing used."""
    return {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


@dataclass(slots=True)
class Turn:
    """One question to an agent.

    `history`: earlier messages (PROTOCOLS.md 2.7), oldest first. `injected`: texts that arrive
    while it runs. `usage`, in the agent's own tokens, is kept up to date: right after an abort too.
    """

    message: str
    history: list[dict[str, Any]] = field(default_factory=list)
    model: str = ""
    injected: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    usage: dict[str, int] = field(default_factory=no_usage)

    def spend(self, *, prompt: int = 0, completion: int = 0) -> None:
        """Add tokens to `usage`."""
        self.usage["prompt_tokens"] += prompt
        self.usage["completion_tokens"] += completion
        self.usage["total_tokens"] += prompt + completion


@dataclass(frozen=True, slots=True)
class Retrying:
    """An agent begins its `attempt`th attempt of `most`. Source: PROTOCOLS.md 2.7."""

    attempt: int
    most: int


class AgentFailed(Exception):
    """Fails the run with these very words, which everyone may read; `detail` is for the log."""

    def __init__(self, words: str, *, detail: str = "") -> None:
        super().__init__(words)
        self.detail = detail


class Agent(Protocol):
    """The seam for every agent: `run` yields the pieces of the answer, and when it begins again.

    An abort cancels it at its next await; an exception fails the run.
    """

    name: str
    model: str
    provider: str

    def run(self, turn: Turn) -> AsyncIterator[str | Retrying]: ...
