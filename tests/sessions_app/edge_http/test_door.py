"""The agent's HTTP fallback: who is heard, and how one registers. Source: PROTOCOLS.md 1.7."""

from __future__ import annotations

import pytest
from django.test import Client
from structlog.testing import capture_logs

from accounts.models import EdgeAgent
from accounts.services import agents as door
from tests.sessions_app.edge_http.asking import (
    EDGE_1,
    RELAY,
    SECRET,
    Post,
    refusal,
    token,
)


@pytest.mark.parametrize("bearer", [SECRET, RELAY, token(), token(secret=SECRET)])
@pytest.mark.parametrize("slash", ["", "/"])
def test_every_bearer_of_the_http_side_is_heard(post: Post, bearer: str, slash: str) -> None:
    assert post(f"sync{slash}", {"edge_agent_id": EDGE_1}, bearer).status_code == 200


PATHS = ["register", "sync", "command/ack", "ack_command", "message"]


@pytest.mark.parametrize("path", PATHS)
def test_no_bearer_a_wrong_one_and_another_agents_are_401(post: Post, path: str) -> None:
    body = {"edge_agent_id": EDGE_1, "command_id": "c", "status": "completed"}
    with capture_logs() as lines:
        answer = post(path, body, None)
        assert refusal(answer) == (401, "Missing or invalid Authorization header")
        assert answer["WWW-Authenticate"].startswith("Bearer")
        for bearer in ("wrong", token("edge_2"), "gwe_wrong"):
            assert refusal(post(path, body, bearer)) == (401, door.REFUSED)
        basic = post(path, body, None, Authorization=f"Basic {SECRET}")
        assert basic.status_code == 401
        torn = post(path, body, **{"X-Edge-Agent-Id": "edge_2"})
        assert refusal(torn) == (401, "X-Edge-Agent-Id differs from edge_agent_id")
    said = [line["event"] for line in lines]
    assert "Edge request rejected: missing auth header" in said
    assert f"Token verification failed for edge_agent_id={EDGE_1}" in said
    assert not EdgeAgent.objects.exists()


@pytest.mark.parametrize("path", PATHS)
def test_only_post_is_answered_and_in_json(path: str) -> None:
    answer = Client().get(f"/edge/{path}", headers={"authorization": f"Bearer {token()}"})
    assert refusal(answer)[0] == 405


def test_failures_are_counted_with_the_sockets(post: Post) -> None:
    body = {"edge_agent_id": EDGE_1}
    assert [post("sync", body, "wrong").status_code for _ in range(10)] == [401] * 10
    answer = post("sync", body)
    assert answer.status_code == 429 and 1 <= int(answer["Retry-After"]) <= 7
    assert post("sync", {"edge_agent_id": "edge_2"}).status_code == 200


@pytest.mark.parametrize("body", ["[]", "nonsense", '"x"', '{"edge_agent_id": 7}', "[" * 5000])
def test_a_body_of_the_wrong_shape_is_400(post: Post, body: str) -> None:
    assert refusal(post("sync", body))[0] == 400


# --- register ---


def test_a_client_registers_by_its_phone(post: Post) -> None:
    body = {"user_phone": "+1 (323) 840-7486", "apple_id": None, "version": "2.0.0"}
    for bearer, shown in [
        (SECRET, {}),
        (None, {"auth_token": SECRET}),
        (None, {"registration_token": SECRET}),
        (token(), {}),
    ]:
        answer = post("register", body | shown, bearer)
        assert answer.json() == {"edge_agent_id": EDGE_1, "status": "registered"}
    agent = EdgeAgent.objects.get()
    assert agent.agent_id == EDGE_1 and agent.last_seen_at is not None
    assert post("register", body | {"auth_token": "wrong"}, None).status_code == 401
    assert post("sync", {"edge_agent_id": EDGE_1, "auth_token": SECRET}, None).status_code == 401
