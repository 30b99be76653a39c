"""Agents in processes of their own, ended with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.chaos.fleet import ws
from tests.services import Serve
from tests.services.agents import Agents


@pytest.fixture
def agents() -> Iterator[Callable[..., Agents]]:
    """`agents(names, *servers, **options)`: scripted agents, connected."""
    started: list[Agents] = []

    def start(names: list[str], *servers: Serve, **options: Any) -> Agents:
        secret = servers[0].environ["EDGE_SECRET"]
        started.append(Agents(ws(*servers), names, secret, **options))
        return started[-1].start()

    yield start
    for process in started:
        process.close()
