"""Edge agents at the door, over real sockets. Source: PROTOCOLS.md 0.2, 1.1, 1.2, 1.6, 1.7."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from tests.live.line import PATIENCE_S, SOON_S
from tests.services import Serve
from tests.services.people import key_of

pytestmark = [pytest.mark.live, pytest.mark.own_server]

Dial = Callable[..., Awaitable[ClientConnection]]
EDGE_1 = "edge_13238407486"


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    """`await dial(server, bearer, agent_id)`: an agent's socket, accepted."""
    async with AsyncExitStack() as stack:

        async def go(
            server: Serve, bearer: str | None = None, agent_id: str = EDGE_1, **headers: str
        ) -> ClientConnection:
            if bearer is not None:
                headers["Authorization"] = f"Bearer {bearer}"
            base = server.ws_url.removesuffix("/ws")
            query = f"?edge_agent_id={agent_id}" if agent_id else ""
            socket = connect(
                f"{base}/edge/ws{query}",
                additional_headers=headers,
                proxy=None,
                open_timeout=PATIENCE_S,
                close_timeout=2,
            )
            return await stack.enter_async_context(socket)

        yield go


async def closed(socket: ClientConnection, within_s: float = PATIENCE_S) -> tuple[int, str]:
    await asyncio.wait_for(socket.wait_closed(), within_s)
    return socket.close_code or 0, socket.close_reason or ""


async def lives(socket: ClientConnection) -> bool:
    await socket.send('{"type":"ping"}')
    return await asyncio.wait_for(socket.recv(), PATIENCE_S) == '{"type":"pong"}'


def secret_of(server: Serve) -> str:
    return server.environ["EDGE_SECRET"]


def token(server: Serve, agent_id: str = EDGE_1, age_s: float = 0) -> str:
    text = f"{agent_id}:+13238407486:{int(time.time() - age_s)}"
    signature = hmac.new(secret_of(server).encode(), text.encode(), hashlib.sha256).hexdigest()
    return base64.b64encode(f"{text}:{signature}".encode()).decode()


def rotated(server: Serve, *options: str) -> str:
    return json.loads(server.run("rotate_agent_secret", EDGE_1, *options, "--json"))["secret"]


async def test_every_refusal_has_its_code_and_its_reason(serve, dial):
    server = serve(EDGE_AUTH_FAILURES_PER_MINUTE="100")
    secret = secret_of(server)
    missing = (4001, "Missing or invalid Authorization header")
    wrong = (1008, "permission denied: the bearer is not this agent's")
    for headers, answer in [
        ({}, missing),
        ({"Authorization": f"Basic {secret}"}, missing),
        ({"Authorization": f"bearer {secret}"}, missing),
        ({"Authorization": "Bearer"}, missing),
        ({"bearer": "wrong"}, wrong),
        ({"bearer": token(server, "edge_2")}, wrong),
        ({"bearer": token(server, age_s=86_401)}, wrong),
        ({"bearer": secret, "agent_id": ""}, (1008, "edge_agent_id is required")),
        ({"bearer": secret, "agent_id": "a%00b"}, wrong),
        (
            {"bearer": secret, "X-Edge-Agent-Id": "edge_2"},
            (1008, "X-Edge-Agent-Id differs from edge_agent_id"),
        ),
    ]:
        assert await closed(await dial(server, **headers)) == answer, headers
    for headers in [
        {"bearer": secret, "X-Edge-Agent-Id": EDGE_1},
        {"bearer": token(server)},
        {"bearer": secret, "agent_id": "", "X-Edge-Agent-Id": EDGE_1},
    ]:
        agent = await dial(server, **headers)
        assert await lives(agent)
        agent.protocol.send_close()  # an empty frame, as test scripts in the field close (1.6)
        agent.transport.write(b"".join(agent.protocol.data_to_send()))
        assert (await closed(agent))[0] == 1000
    log = server.log()
    for line in (
        "WebSocket connection rejected: missing auth header",
        f"Token verification failed for edge_agent_id={EDGE_1}",
        f"WebSocket connection established for {EDGE_1}",
        f"Edge agent {EDGE_1} registered with WebSocket manager",
    ):
        assert line in log
    assert secret not in log and token(server)[:40] not in log


async def test_a_misconfigured_agent_is_refused_before_it_opens(serve, dial):
    server = serve()
    for bearer in [None, "wrong"] * 5:
        assert (await closed(await dial(server, bearer)))[0] in {4001, 1008}

    async def wait_s(bearer: str | None) -> int:
        """How long this one is to wait; 0: it was looked at."""
        try:
            await dial(server, bearer)
        except InvalidStatus as refused:
            assert refused.response.status_code == 429
            error = json.loads(refused.response.body)["error"]
            assert error["message"] == "too many failed attempts"
            return int(refused.response.headers["Retry-After"])
        return 0

    for bearer in (None, "wrong", secret_of(server)):
        while await wait_s("wrong") < 4:  # one more is allowed every six seconds
            continue
        assert 1 <= await wait_s(bearer) <= 7
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        headers = {"Authorization": f"Bearer {secret_of(server)}"}
        for agent_id, status in [(EDGE_1, 429), ("edge_2", 200)]:
            body = {"edge_agent_id": agent_id}
            answer = await http.post("/edge/sync", json=body, headers=headers)
            assert answer.status_code == status
    assert await lives(await dial(server, secret_of(server), "edge_2"))


async def test_a_secret_of_its_own_its_overlap_and_its_end(serve, dial):
    server = serve()
    bystander = await dial(server, secret_of(server), "edge_2")
    shared = await dial(server, secret_of(server))
    assert await lives(shared)
    first = rotated(server)
    assert await closed(shared, within_s=SOON_S) == (1008, "access was revoked")
    assert (await closed(await dial(server, secret_of(server))))[0] == 1008
    older = await dial(server, first)
    assert await lives(older)
    second = rotated(server, "--overlap", "1h")
    assert await lives(older), "an overlap cuts nobody off"
    newer = await dial(server, second)
    assert await lives(newer)
    assert await closed(older) == (4009, "replaced by a newer connection")
    rotated(server, "--overlap", "10s")
    assert (await closed(await dial(server, first)))[0] == 1008
    assert await lives(newer), "it came in before the overlap began"
    last = await dial(server, second)
    assert await closed(newer) == (4009, "replaced by a newer connection")
    assert await closed(last, within_s=40) == (1008, "credentials have expired")
    assert await lives(bystander)
    short = await dial(server, token(server, "edge_3", age_s=86_400 - 9), "edge_3")
    assert await lives(short)
    assert await closed(short, within_s=40) == (1008, "credentials have expired")
    assert first not in server.log() and second not in server.log()


async def test_who_came_in_before_an_overlap_is_closed_when_it_is_over(serve, dial):
    server = serve()
    shared, token_ = await dial(server, secret_of(server)), token(server, "edge_2")
    bystander = await dial(server, token_, "edge_2")
    told = json.loads(server.run("rotate_agent_secret", EDGE_1, "--overlap", "10s", "--json"))
    over = dt.datetime.fromisoformat(told["previous_until"]).timestamp()
    assert await lives(shared)
    assert await closed(shared, within_s=40) == (1008, "credentials have expired")
    assert 0 <= time.time() - over < SOON_S
    assert await lives(bystander)


async def test_an_agent_shut_out_is_gone_at_once_and_a_restart_says_come_back(serve, dial):
    server = serve(DRAIN_S="2")
    out, stays = (
        await dial(server, secret_of(server)),
        await dial(server, token(server, "e2"), "e2"),
    )
    assert await lives(out) and await lives(stays)
    server.run(
        "shell",
        "-c",
        "from accounts.services import agent_secrets, journal\n"
        "from dataclasses import replace\n"
        "who = replace(journal.command_line(), account='default')\n"
        f"agent_secrets.let_in(principal=who, agent_id='{EDGE_1}', active=False)",
    )
    assert await closed(out, within_s=SOON_S) == (1008, "access was revoked")
    assert (await closed(await dial(server, secret_of(server))))[0] == 1008
    ended = asyncio.create_task(asyncio.to_thread(server.terminate))
    assert await closed(stays) == (1012, "server restarting")
    assert await ended == 0


async def test_a_command_by_rest_reaches_the_socket_or_the_http_fallback(serve, dial):
    server = serve()
    agent = await dial(server, secret_of(server))
    headers = {"Authorization": f"Bearer {key_of('alice')}"}
    edge = {"Authorization": f"Bearer {token(server)}"}
    asked = {"agent_id": EDGE_1, "command_type": "set_rule", "payload": {"text": "hey 💙"}}
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        made = await http.post("/api/edge/commands/", json=asked, headers=headers)
        assert made.status_code == 201
        pk = made.json()["command_id"]
        frame = json.loads(await asyncio.wait_for(agent.recv(), PATIENCE_S))
        assert frame["data"] == frame["payload"]
        assert (frame["type"], frame["data"]["command_id"]) == ("command", pk)
        # While the socket is there, asking over HTTP gives nothing twice.
        body = {"edge_agent_id": EDGE_1, "pending_events": [], "status": {}}
        synced = await http.post("/edge/sync", json=body, headers=edge)
        assert synced.json() == {"commands": [], "ack_events": []}
        ack = {"command_id": pk, "success": True, "error": None, "timestamp": "x"}
        answer = await http.post("/edge/command/ack", json=ack, headers=edge)
        assert answer.json() == {"recorded": True}
        (row,) = (await http.get("/api/edge/agents", headers=headers)).json()["results"]
        assert (row["agent_id"], row["online"], row["queue_depth"]) == (EDGE_1, True, 0)
        await agent.close()
        async with asyncio.timeout(PATIENCE_S):
            while row["online"]:
                (row,) = (await http.get("/api/edge/agents", headers=headers)).json()["results"]
        second = json.loads(server.run("send_command", EDGE_1, "set_rule", "{}", "--json"))
        synced = await http.post("/edge/sync", json=body, headers=edge)
        assert [c["command_id"] for c in synced.json()["commands"]] == [second["command_id"]]
        ack["command_id"] = second["command_id"]
        await http.post("/edge/ack_command", json=ack, headers=edge)
        detail = await http.get(f"/api/edge/commands/{second['command_id']}", headers=headers)
        kinds = [event["kind"] for event in detail.json()["events"]]
        assert kinds == ["scheduled", "leased", "delivered", "completed"]
