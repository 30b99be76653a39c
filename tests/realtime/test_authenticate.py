"""Dispatch.authenticate: which failures count where, and a database that is away."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import InterfaceError, OperationalError

from realtime import dispatch
from realtime.core.credentials import AgentSecret, ConnectToken, Jwt
from realtime.core.errors import BadCredentials, TooManyFailures, Unavailable

TOKEN = ConnectToken(token="x", address="10.0.0.1")
JWT = Jwt(token="x", address="10.0.0.1")
AGENT = AgentSecret(bearer="x", agent_id="edge_1", address="10.0.0.1")


@pytest.fixture
def answer(monkeypatch):
    """`answer(kind, error)`: the verifier of a kind of credential raises the error."""

    def go(kind: type, error: Exception) -> None:
        def verify(*, credential: Any) -> None:
            raise error

        monkeypatch.setitem(dispatch.VERIFIERS, kind, verify)

    return go


@pytest.fixture
def gate():
    return dispatch.Dispatch(node="n", runs=None, showing=None)


@pytest.mark.parametrize("credential", [TOKEN, AGENT, JWT])
@pytest.mark.parametrize("error", [OperationalError("away"), InterfaceError("away")])
async def test_a_database_that_is_away_is_worth_another_try(gate, answer, credential, error):
    answer(type(credential), error)
    with pytest.raises(Unavailable):
        await gate.authenticate(credential)


async def test_an_agents_failures_do_not_slow_down_its_neighbours(gate, answer):
    """They share an address behind NAT; an agent's own are counted by its verifier."""
    answer(AgentSecret, BadCredentials())
    answer(ConnectToken, BadCredentials())
    for _ in range(30):
        with pytest.raises(BadCredentials):
            await gate.authenticate(AGENT)
    for _ in range(dispatch.FAILURES_AT_ONCE):
        with pytest.raises(BadCredentials):
            await gate.authenticate(TOKEN)
    with pytest.raises(TooManyFailures):
        await gate.authenticate(TOKEN)
    with pytest.raises(BadCredentials):
        await gate.authenticate(AGENT)
