from __future__ import annotations

import pytest

from tests.clients.far_end import EdgeServer, GroupServer, SessionServer, TopicServer
from trunkline_client import Ledger


@pytest.fixture
async def server():
    async with EdgeServer() as server:
        yield server


@pytest.fixture
async def topic_server():
    async with TopicServer() as server:
        yield server


@pytest.fixture
async def group_server():
    async with GroupServer() as server:
        yield server


@pytest.fixture
async def session_server():
    async with SessionServer() as server:
        yield server


@pytest.fixture
def read(monkeypatch):
    """The numbers of the acknowledgements of which the agent knows that they were read."""
    numbers: list[int] = []
    confirm = Ledger.confirm

    def noted(ledger, through):
        confirm(ledger, through)
        numbers.append(through)

    monkeypatch.setattr(Ledger, "confirm", noted)
    return numbers
