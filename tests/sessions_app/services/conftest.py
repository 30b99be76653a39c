"""An edge agent that is connected, and a clock to be set."""

from __future__ import annotations

import pytest

from tests.sessions_app.edge import Agent, Clock


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def agent(accounts: None) -> Agent:
    agent = Agent()
    agent.connect()
    return agent
