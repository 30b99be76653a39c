"""One server for the page of sessions, a session of alice's, and its worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from tests.browser.conftest import House
from tests.browser.test_live_pages import GIVE_PASSWORDS
from tests.live.made import a_key, a_session
from tests.live.worker import Worker
from tests.services import Serve


@pytest.fixture(scope="module")
def server(serve_for_module: Callable[..., Serve]) -> Serve:
    """One for all: nobody here is in another's way."""
    server = serve_for_module(database="sqlite")
    server.run("shell", "--no-imports", "-c", GIVE_PASSWORDS)
    return server


@pytest.fixture
def house(server: Serve) -> House:
    return House(server)


@pytest.fixture
def session(server: Serve, request: pytest.FixtureRequest) -> str:
    """A session of alice's that a worker serves."""
    return a_session(server, request.node.name, "alice", "--agent", "worker")


@pytest.fixture
async def worker(server: Serve, session: str) -> AsyncIterator[Worker]:
    async with Worker(server, session, a_key(server)) as worker:
        await worker.ready()
        yield worker
