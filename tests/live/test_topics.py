"""004 over real sockets: the door, and who hears what. Source: PROTOCOLS.md 0.2, 5, 6."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import jwt
import pytest
from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from tests.services import Serve
from tests.services.people import key_of

pytestmark = pytest.mark.live

WITHIN_S = 30.0
TELEMETRY = {"action": "subscribe", "channel": "telemetry"}


class Peer:
    """A client of 004 written from docs/protocols/nexus.md alone."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, **frame: Any) -> None:
        await self.socket.send(json.dumps(frame))

    async def next(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(await asyncio.wait_for(self.socket.recv(), WITHIN_S))
        return frame

    async def ask(self, **frame: Any) -> dict[str, Any]:
        await self.send(**frame)
        return await self.next()

    async def subscribe(self, channel: str, **fields: Any) -> None:
        frame = await self.ask(action="subscribe", channel=channel, **fields)
        assert frame["type"] == "subscribed", frame

    async def heard(self, *, at_least: int = 0) -> list[Any]:
        """The data of each message that comes until a ping is answered, sent after so many have:
        with Redis what is published takes its way over the bus, and an answer does not.
        """
        frames = [await self.next() for _ in range(at_least)]
        frames.append(await self.ask(action="ping"))
        while frames[-1]["type"] != "pong":
            frames.append(await self.next())
        return [frame.get("data") for frame in frames[:-1]]

    async def closed(self) -> tuple[int, str]:
        await asyncio.wait_for(self.socket.wait_closed(), WITHIN_S)
        return self.socket.close_code or 0, self.socket.close_reason or ""


Dial = Callable[..., Awaitable[Peer]]


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    """`await dial(server, token)`: a welcomed peer."""
    async with AsyncExitStack() as stack:

        async def go(server: Serve, token: str, path: str = "/nexus/ws") -> Peer:
            peer = Peer(await stack.enter_async_context(dialled(server, f"{path}?token={token}")))
            welcome = await peer.next()
            assert welcome["type"] == "connected"
            return peer

        yield go


def dialled(server: Serve, path: str) -> connect:
    url = server.url.replace("http", "ws") + path
    return connect(url, proxy=None, open_timeout=WITHIN_S, close_timeout=2)


def token_of(server: Serve, user_id: str = "usr_123", role: str = "agent", **claims: Any) -> str:
    given = {"userId": user_id, "role": role, **claims}
    return jwt.encode(given, server.environ["NEXUS_JWT_SECRET"], algorithm="HS256")


def issued(server: Serve, name: str) -> str:
    """An access token of one of the people."""
    access: str = json.loads(server.run("issue_token", name, "--json"))["access"]
    return access


async def refusal(server: Serve, path: str) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as refused:
        async with dialled(server, path):
            pass
    response = refused.value.response
    return response.status_code, json.loads(response.body or b"{}").get("error", {})


# --- the door ---


@pytest.mark.own_server
async def test_no_token_is_401_and_a_bad_one_403_before_the_upgrade(serve):
    server = serve()
    for path in ("/ws?token=", "/ws/?token", "/?token=", "/nexus/ws", "/nexus/ws?token=", "/nexus"):
        status, error = await refusal(server, path)
        assert (status, error["message"]) == (401, "token is required"), path
    expired = token_of(server, exp=int(time.time()) - 1)
    for path in ("/ws", "/", "/nexus/ws", "/nexus"):
        for token in ("nonsense", expired):
            status, error = await refusal(server, f"{path}?token={token}")
            assert (status, error["message"]) == (403, "token is not valid"), path
    assert expired.split(".")[2] not in server.log()


async def test_every_path_speaks_first_and_to_the_letter(serve, dial):
    server = serve()
    token = token_of(server)
    for path in ("/ws", "/ws/", "/", "/nexus/ws", "/nexus"):
        async with dialled(server, f"{path}?token={token}") as socket:
            assert await asyncio.wait_for(socket.recv(), WITHIN_S) == (
                '{"type":"connected","message":"Welcome to Nexus WebSocket","userId":"usr_123"}'
            )
    peer = await dial(server, token, "/ws")
    frame = await peer.ask(action="ping")
    assert type(frame["timestamp"]) is int
    assert abs(frame["timestamp"] - time.time() * 1000) < 60_000
    await peer.socket.send("{")
    assert await peer.next() == {"type": "error", "message": "Invalid JSON format"}
    await peer.socket.send(b'{"action":"subscribe","channel":"c"}')
    assert await peer.next() == {"type": "subscribed", "channel": "c"}
    assert token not in server.log() and "usr_123" in server.log()


async def test_ws_without_a_token_is_still_the_gateways(serve):
    server = serve()
    async with dialled(server, "/ws") as socket:
        await socket.send('{"type":"req","id":"1","method":"status"}')
        answer = json.loads(await asyncio.wait_for(socket.recv(), WITHIN_S))
        assert answer["error"]["message"] == "first request must be 'connect'"


@pytest.mark.own_server
async def test_a_socket_ends_with_its_token_and_with_its_log_in(serve, dial):
    server = serve()
    short = await dial(server, token_of(server, exp=int(time.time()) + 7))
    pair = json.loads(server.run("issue_token", "alice", "--json"))
    alice = await dial(server, pair["access"])
    bystander = await dial(server, issued(server, "bob"))
    assert await short.closed() == (4003, "credentials have expired")
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        await http.post("/api/auth/token/revoke/", json={"refresh": pair["refresh"]})
    assert await alice.closed() == (4003, "access was revoked")
    assert (await refusal(server, f"/nexus/ws?token={pair['access']}"))[0] == 403
    assert await bystander.heard() == []


@pytest.mark.own_server
async def test_a_frame_over_one_mebibyte_is_1009(serve, dial):
    server = serve()
    peer = await dial(server, token_of(server))
    frame = '{"action":"publish","channel":"c","payload":"%s"}'
    await peer.socket.send(frame % ("x" * (2**20 - len(frame) + 2)))
    assert await peer.heard() == []
    await peer.socket.send(frame % ("x" * (2**20 - len(frame) + 3)))
    assert (await peer.closed())[0] == 1009


# --- who hears what ---


async def test_filters_unions_and_the_publisher_itself(serve, dial):
    server = serve()
    everything = await dial(server, token_of(server, "all"))
    some = await dial(server, token_of(server, "some"))
    await everything.subscribe("telemetry")
    for filters in ({"agent_id": "a"}, {"agent_id": "a"}, {"cpu": 7}):
        await some.subscribe("telemetry", filters=filters)
    said = [{"agent_id": "a", "cpu": 7}, {"agent_id": "b", "cpu": 7}, {"agent_id": "b"}, "text"]
    for data in said:
        await everything.send(action="publish", channel="telemetry", payload=data)
    assert await everything.heard(at_least=4) == said
    assert await some.heard(at_least=2) == said[:2]
    await some.send(action="publish", channel="telemetry", payload={"agent_id": "a"})
    frame = await everything.next()
    assert frame["from"] == "some" and frame["data"] == {"agent_id": "a"}
    assert await some.heard(at_least=1) == [{"agent_id": "a"}]
    assert (await some.ask(action="unsubscribe", channel="telemetry"))["type"] == "unsubscribed"
    await everything.send(action="publish", channel="telemetry", payload={"agent_id": "a"})
    assert await everything.heard(at_least=1) == [{"agent_id": "a"}]
    assert await some.heard() == []


async def test_the_topics_of_one_account_are_not_those_of_another(serve, dial):
    """The owner, a stranger and an admin of one account hear; another tenant's admin does not."""
    server = serve()
    alice, bob, root, carol = [
        await dial(server, issued(server, name)) for name in ("alice", "bob", "root", "carol")
    ]
    foreign = await dial(server, token_of(server, "carol"))
    for peer in (alice, bob, root, carol, foreign):
        await peer.subscribe("telemetry")
    await carol.send(action="publish", channel="telemetry", payload="other")
    assert await carol.heard(at_least=1) == ["other"]
    await alice.send(action="publish", channel="telemetry", payload="default")
    for peer in (alice, bob, root, foreign):
        assert await peer.heard(at_least=1) == ["default"]
    assert await carol.heard() == []
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        for name, peers in (("alice", (alice, bob, root, foreign)), ("carol", (carol,))):
            answer = await publish(http, name, "telemetry", name)
            assert (answer.status_code, answer.json()) == (
                202,
                {"channel": "telemetry", "published": True},
            )
            for peer in peers:
                frame = await peer.next()
                assert (frame["type"], frame["data"]) == ("broadcast", name)
                assert set(frame) == {"type", "channel", "data", "timestamp"}
    for peer in (alice, bob, root, carol, foreign):
        assert await peer.heard() == []


async def test_what_becomes_of_a_command_is_told_to_operators_without_its_payload(serve, dial):
    server = serve()
    alice, root, carol = [
        await dial(server, issued(server, name)) for name in ("alice", "root", "carol")
    ]
    topic = "agent.edge_1.commands"
    for peer in (alice, root, carol):
        await peer.subscribe(topic)
    foreign = await dial(server, token_of(server, role="agent"))
    refused = await foreign.ask(action="subscribe", channel=topic)
    assert refused["message"] == "permission denied: topics of agents require operator role"
    trusted = await dial(server, token_of(server, role="operator"))
    await trusted.subscribe(topic)
    forged = await alice.ask(action="publish", channel=topic, payload={"status": "completed"})
    assert forged["type"] == "error"
    sent = server.run("send_command", "edge_1", "set_rule", '{"text":"secret words"}', "--json")
    command_id = json.loads(sent)["command_id"]
    for peer in (alice, root, trusted):
        frame = await peer.next()
        assert (frame["type"], frame["channel"]) == ("broadcast", topic)
        assert frame["data"]["command_id"] == command_id
        assert frame["data"].keys() == {"event", "agent_id", "command_id", "status", "at"}
        assert "secret words" not in json.dumps(frame)
    assert await carol.heard() == await foreign.heard() == []


async def test_observers_publish_unless_the_policy_says_otherwise(serve, dial):
    server = serve(NEXUS_OBSERVERS_PUBLISH="off")
    server.run("create_user", "vera", "--role", "viewer")
    agent = await dial(server, token_of(server, "usr_1", "agent"))
    await agent.subscribe("c")
    for token in (token_of(server, "usr_2", "observer"), issued(server, "vera")):
        observer = await dial(server, token)
        await observer.subscribe("c")
        error = await observer.ask(action="publish", channel="c", payload=1)
        assert error["message"] == "permission denied: observers do not publish"
        await agent.send(action="publish", channel="c", payload=2)
        assert (await observer.next())["data"] == 2
    assert await agent.heard(at_least=2) == [2, 2]


async def test_a_token_of_the_command_line_opens_and_publish_is_heard(serve, dial):
    server = serve()
    made = json.loads(server.run("issue_nexus_token", "usr_9", "--role", "observer", "--json"))
    peer = await dial(server, made["token"], "/ws")
    await peer.subscribe("news: ü/💙", filters={"n": 1})
    for number in (2, 1):
        told = server.run("publish", "news: ü/💙", json.dumps({"n": number}), "--json")
        assert json.loads(told) == {"channel": "news: ü/💙", "published": True}
    frame = await peer.next()
    assert (frame["type"], frame["data"]) == ("broadcast", {"n": 1})
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        assert (await publish(http, "alice", "news: ü/💙", {"n": 1})).status_code == 202
    assert (await peer.next())["data"] == {"n": 1}


async def publish(http: httpx.AsyncClient, name: str, channel: str, data: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key_of(name)}"}
    return await http.post(f"/api/topics/{channel}/publish/", json={"data": data}, headers=headers)


# --- two processes, and other programs ---


@pytest.mark.postgres
@pytest.mark.own_server
async def test_two_processes_are_one(serve, dial):
    """Each message once on either, filters on both, tenants apart, order kept."""
    here = serve(database="postgres")
    there = serve(beside=here)
    near = await dial(here, issued(here, "alice"))
    far = await dial(there, token_of(there, "far"))
    picky = await dial(there, issued(there, "bob"))
    carol = await dial(there, issued(there, "carol"))
    for peer in (near, far, carol):
        await peer.subscribe("telemetry")
        await peer.subscribe("telemetry", filters={"n": 1})
    await picky.subscribe("telemetry", filters={"n": 7})
    for number in range(50):
        await near.send(action="publish", channel="telemetry", payload={"n": number})
    said = [{"n": number} for number in range(50)]
    for peer in (far, near):
        assert [(await peer.next())["data"] for _ in said] == said
    assert (await picky.next())["data"] == {"n": 7}
    assert json.loads(here.run("publish", "telemetry", '{"n": 7}', "--json"))["published"]
    async with httpx.AsyncClient(base_url=there.url, timeout=30) as http:
        assert (await publish(http, "root", "telemetry", {"n": 8})).status_code == 202
    for peer in (near, far):
        assert [(await peer.next())["data"] for _ in range(2)] == [{"n": 7}, {"n": 8}]
    assert (await picky.next())["data"] == {"n": 7}
    await far.send(action="unsubscribe", channel="telemetry")
    assert (await far.next())["type"] == "unsubscribed"
    await near.send(action="publish", channel="telemetry", payload={"n": 7})
    for peer in (picky, near):
        assert (await peer.next())["data"] == {"n": 7}
    for peer in (near, far, picky, carol):
        assert await peer.heard() == []


@pytest.mark.postgres
@pytest.mark.redis
async def test_what_other_programs_publish_reaches_telemetry_of_the_default_account(
    serve, dial, redis_service
):
    here = serve(database="postgres")
    there = serve(beside=here)
    near, far = await dial(here, issued(here, "alice")), await dial(there, token_of(there))
    carol = await dial(there, issued(there, "carol"))
    for peer in (near, carol):
        await peer.subscribe("telemetry")
    await far.subscribe("telemetry", filters={"cpu": 7})
    await near.subscribe("other")
    async with Redis.from_url(redis_service.url) as program:
        await is_heard(program, near, far)
        for odd in ("{", b"\xff", "[" * 100 + "]" * 100, json.dumps("x" * 2**20)):
            await program.publish("nexus:broadcast", odd)
        for data in ({"cpu": 8}, {"cpu": 7}):
            await program.publish("nexus:broadcast", json.dumps(data))
        frames = [await near.next(), await near.next(), await far.next()]
        assert [frame["data"]["cpu"] for frame in frames] == [8, 7, 7]
        for frame in frames:
            assert set(frame) == {"type", "channel", "data", "timestamp"}
            assert (frame["type"], frame["channel"]) == ("broadcast", "telemetry")
        for peer in (near, far, carol):
            assert await peer.heard() == []
        logs = here.log() + there.log()
        assert logs.count("bus.outside_dropped") == 1
    redis_service.restart()
    async with Redis.from_url(redis_service.url) as program:
        await is_heard(program, near, far)
        await program.publish("nexus:broadcast", '{"cpu":7}')
        assert (await near.next())["data"] == (await far.next())["data"] == {"cpu": 7}


async def is_heard(program: Redis, *peers: Peer) -> None:
    """Both processes listen, one of them holds the lease, and they hear each other."""
    async with asyncio.timeout(40):
        while (await program.pubsub_numsub("nexus:broadcast"))[0][1] != 2:
            await asyncio.sleep(0.05)
        for peer in peers:
            while not await peer.heard():
                await program.publish("nexus:broadcast", '{"cpu": 7, "are": "you there?"}')
        last = {"cpu": 7, "that": "is all"}
        await program.publish("nexus:broadcast", json.dumps(last))
        for peer in peers:
            while last not in await peer.heard():
                continue
