"""What an agent `openai` says when it is asked, or fails with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sessions_app.agents import AgentFailed, Retrying, Turn
from sessions_app.agents.openai import OpenAI
from sessions_app.services import endpoints

KEY = "sk-never-to-be-seen"
Serve = Callable[..., Any]


def key_of(name: str) -> str:
    """The key that the agent of this name shows to its endpoint."""
    agent = endpoints.agent(name)
    assert isinstance(agent, OpenAI)
    return agent._endpoint.key


async def spoken(agent: OpenAI, turn: Turn | None = None) -> list[str | Retrying]:
    async with asyncio.timeout(30):
        return [piece async for piece in agent.run(turn or Turn(message="hi"))]


async def failure(agent: OpenAI) -> tuple[str, list[str | Retrying]]:
    """The words with which a run fails, and the pieces that came before."""
    pieces: list[str | Retrying] = []
    with pytest.raises(AgentFailed) as failed:
        async with asyncio.timeout(30):
            async for piece in agent.run(Turn(message="hi")):
                pieces.append(piece)
    assert KEY not in str(failed.value) + failed.value.detail
    return str(failed.value), pieces
