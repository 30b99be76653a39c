from __future__ import annotations

import pytest

from tests.clients.edge_server import EdgeServer
from trunkline_client import Ledger


@pytest.fixture
async def server():
    async with EdgeServer() as server:
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
