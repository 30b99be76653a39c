"""An agent that asks over HTTP, as the documented client does."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.services import agents as door
from tests.sessions_app.edge_http.asking import (
    EDGE_1,
    RELAY,
    SECRET,
    Post,
)


@pytest.fixture(autouse=True)
def settled(settings: Any, monkeypatch: pytest.MonkeyPatch, accounts: None) -> None:
    settings.EDGE_SECRET, settings.RELAY_WEBHOOK_SECRET = SECRET, RELAY
    monkeypatch.setattr(door, "_failures", door.Failures(10))


@pytest.fixture
def post() -> Post:
    """`post(path, body, bearer=…)` as EDGE_1; CSRF is checked as for a browser."""

    def go(path: str, body: Any, bearer: str | None = SECRET, **headers: str) -> Any:
        shown = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        return Client(enforce_csrf_checks=True).post(
            f"/edge/{path}",
            data=body if isinstance(body, str) else json.dumps(body),
            content_type="application/json",
            headers={**shown, **headers},
        )

    return go


@pytest.fixture
def sync(post: Post) -> Callable[..., Any]:
    """The answer to a sync, as the documented client asks."""

    def go(bearer: str = SECRET, agent_id: str = EDGE_1, **fields: Any) -> Any:
        body = {
            "edge_agent_id": agent_id,
            "last_command_id": None,
            "pending_events": [],
            "status": {"scheduled_messages": 3, "active_rules": 0, "uptime_seconds": 3600},
        }
        answer = post("sync", body | fields, bearer, **{"X-Edge-Protocol-Version": "1.0"})
        assert answer.status_code == 200, answer.content
        return answer.json()

    return go
