"""Dispatch.run while the database is away: who is told at once, and for whom it is tried again."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import OperationalError

from realtime import dispatch
from realtime.core import operations as ops
from realtime.core.errors import Unavailable
from realtime.core.principal import Principal

ACK = ops.AcknowledgeCommand(command_id="c", status="completed")
STATUS = ops.ReportStatus(status={})
AGENT = Principal(id="edge_1", account="default", via="edge")


@pytest.fixture
def away(monkeypatch):
    """`away(operation, fails, takes_s)`: its service fails so often first, after so long a wait."""

    def go(operation: Any, fails: int, takes_s: float = 0.0) -> list[int]:
        tries: list[int] = []

        def service(**fields: Any) -> str:
            tries.append(len(tries))
            if len(tries) > fails:
                return "done"
            threading.Event().wait(takes_s)  # a frozen server
            raise OperationalError("away")

        monkeypatch.setitem(dispatch.SERVICES, type(operation), service)
        monkeypatch.setattr(dispatch, "RETRY_S", 0.01)
        return tries

    return go


@pytest.fixture
def services():
    return dispatch.Dispatch(node="n", runs=None, showing=None)


async def test_an_acknowledgement_is_tried_until_the_database_is_back(services, away):
    tries = away(ACK, fails=3)
    assert await services.run(ACK, AGENT) == "done"
    assert len(tries) == 4


async def test_an_acknowledgement_that_hung_for_longer_than_its_patience_is_tried_once_more(
    services, away, monkeypatch
):
    monkeypatch.setattr(dispatch, "PATIENCE_S", 0.1)
    away(ACK, fails=1, takes_s=0.2)
    assert await services.run(ACK, AGENT) == "done"
    tries = away(ACK, fails=9, takes_s=0.2)
    with pytest.raises(Unavailable):
        await services.run(ACK, AGENT)
    assert len(tries) == 2


async def test_all_others_are_told_at_once(services, away):
    tries = away(STATUS, fails=1)
    with pytest.raises(Unavailable):
        await services.run(STATUS, AGENT)
    assert len(tries) == 1
