"""An edge agent that is connected, and a clock to be set."""

from __future__ import annotations

import pytest

from tests.sessions_app.edge import Agent, Clock, keep_busy


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_busy(monkeypatch)


@pytest.fixture
def agent(accounts: None) -> Agent:
    agent = Agent()
    agent.connect()
    return agent
