"""An agent `openai`, and the endpoint that it asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from sessions_app.agents.endpoint import Endpoint, Limits
from sessions_app.agents.openai import OpenAI
from tests.sessions_app.agents.asking import KEY, Serve
from tests.sessions_app.agents.upstream import Script, Upstream


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """`await serve(script, …, **limits)`: the server, and an agent that asks it."""
    running: list[Upstream] = []

    async def start(*scripts: Script, **limits: Any) -> tuple[Upstream, OpenAI]:
        upstream = await Upstream(*scripts).__aenter__()
        running.append(upstream)
        endpoint = Endpoint("openai", upstream.url, "small", KEY)
        return upstream, OpenAI(endpoint, Limits(**{"backoff_s": 0.01, **limits}))

    yield start
    for upstream in running:
        await upstream.__aexit__()
