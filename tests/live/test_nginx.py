"""Every protocol through a real nginx with `deploy/nginx.conf`. PROTOCOLS.md 0.2, 4.6."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import jwt
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import Frame, Opcode
from websockets.protocol import Event

from tests import samples
from tests.doubles import until
from tests.services import Nginx, Serve
from tests.services.people import key_of

pytestmark = [pytest.mark.live, pytest.mark.own_server]

WITHIN_S = 30.0
SILENCE_S = 61.0  # longer than what nginx waits for by itself
TRUST = {"TRUSTED_PROXIES": "127.0.0.1", "CONNECT_TIMEOUT_S": "60", "database": "sqlite"}
ALICE = {"Authorization": f"Bearer {key_of('alice')}"}
PASSWORD = "a-long-and-quiet-afternoon"
MAKE_BOSS = f"""
from accounts.services import people
people.create(username="boss", password="{PASSWORD}", role="admin", account="default")
"""
MAKE_KEY = """
from accounts.services import journal, keys, people
to_work = {"user": people.named("alice"), "scopes_": ["sessions.work"]}
print(keys.create(principal=journal.command_line(), name="worker", **to_work).text)
"""
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
PING = '{"type":"ping"}'
ALIVE = '{"type":"keep_alive"}'


class Socket(ClientConnection):
    """It sends no pings of its own, and counts the server's."""

    def __init__(self, *details: Any, **options: Any) -> None:
        super().__init__(*details, **options)
        self.pings = 0
        self.twice = asyncio.Event()

    def process_event(self, event: Event) -> None:
        self.pings += isinstance(event, Frame) and event.opcode is Opcode.PING
        if self.pings >= 2:
            self.twice.set()
        super().process_event(event)

    async def ask(self, text: str) -> str:
        await self.send(text)
        return await self.hear()

    async def hear(self) -> str:
        return str(await asyncio.wait_for(self.recv(), WITHIN_S))

    async def closed(self) -> tuple[int, str]:
        await asyncio.wait_for(self.wait_closed(), WITHIN_S)
        return self.close_code or 0, self.close_reason or ""


Dial = Callable[..., Awaitable[Socket]]


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    """`await dial(proxy, path, **headers)`; `address` is where the peer comes from."""
    async with AsyncExitStack() as stack:

        async def go(proxy: Nginx, path: str, address: str = "127.0.0.1", **headers: str) -> Socket:
            dialled = connect(
                proxy.ws_url.removesuffix("/ws") + path,
                additional_headers=headers,
                create_connection=Socket,
                proxy=None,
                ping_interval=None,
                close_timeout=2,
                local_addr=(address, 0),
            )
            socket = await stack.enter_async_context(dialled)
            assert isinstance(socket, Socket)
            return socket

        yield go


def browser(proxy: Nginx, address: str = "127.0.0.1") -> httpx.Client:
    transport = httpx.HTTPTransport(local_address=address)
    return httpx.Client(base_url=proxy.url, transport=transport, trust_env=False, timeout=30)


def shell(server: Serve, script: str) -> str:
    return server.run("shell", "--no-imports", "-c", script)


def log_in(proxy: Nginx) -> str:
    """The Cookie header of an administrator who logs in through the proxy."""
    with browser(proxy) as http:
        page = http.get("/admin/login/").text
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token, page
        form = {"username": "boss", "password": PASSWORD, "csrfmiddlewaretoken": token[1]}
        http.post("/admin/login/", data=form)
        return f"sessionid={http.cookies['sessionid']}"


def token_of(server: Serve, **claims: object) -> str:
    given = {"userId": "usr_1", "role": "agent", **claims}
    return jwt.encode(given, server.environ["NEXUS_JWT_SECRET"], algorithm="HS256")


def bearer(server: Serve) -> dict[str, str]:
    return {"Authorization": f"Bearer {server.environ['EDGE_SECRET']}"}


def group_path(group: str, client: str, **query: str) -> str:
    path = f"/v3/ws/group/{quote(group, safe='')}/client/{quote(client, safe='')}"
    return f"{path}?{urlencode(query)}"


def a_session(proxy: Nginx) -> str:
    """Where the sockets of a new session of alice's are."""
    with browser(proxy) as http:
        made = http.post("/v1/sessions", json={"title": "s"}, headers=ALICE).json()
    return f"/v1/sessions/ws/{made['id']}"


def as_printed(printed: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {printed.split()[-1]}"}


async def everybody(proxy: Nginx, dial: Dial) -> dict[str, Socket]:
    """One socket of each protocol, greeted."""
    server = proxy.servers[0]
    works = as_printed(await asyncio.to_thread(shell, server, MAKE_BOSS + MAKE_KEY))
    cookie = await asyncio.to_thread(log_in, proxy)
    session = await asyncio.to_thread(a_session, proxy)
    sockets = {
        "edge": await dial(proxy, "/edge/ws?edge_agent_id=edge_1", **bearer(server)),
        "goclaw": await dial(proxy, "/ws"),
        "viewer": await dial(proxy, f"{session}/subscribe?replay=true", **ALICE),
        "worker": await dial(proxy, f"{session}/worker", **works),
        "aether": await dial(proxy, group_path("ein Raum: ü", "a@b", api_key=key_of("alice"))),
        "nexus": await dial(proxy, f"/ws?token={token_of(server)}"),
        "bare nexus": await dial(proxy, f"/?token={token_of(server)}"),
        "admin": await dial(proxy, "/admin/ws", Cookie=cookie, Origin=proxy.url),
    }
    request = {"type": "req", "id": "1", "method": "connect", "params": {"token": key_of("alice")}}
    assert json.loads(await sockets["goclaw"].ask(json.dumps(request)))["ok"]
    for name in ("nexus", "bare nexus"):
        assert json.loads(await sockets[name].hear())["type"] == "connected"
    assert await sockets["admin"].hear() == '{"type":"hello"}'
    return sockets


async def all_answer(sockets: dict[str, Socket]) -> None:
    assert await sockets["edge"].ask(PING) == '{"type":"pong"}'
    status = '{"type":"req","id":"2","method":"status","params":{}}'
    assert '"id":"2"' in await sockets["goclaw"].ask(status)
    for name in ("viewer", "worker"):
        assert await sockets[name].ask(ALIVE) == ALIVE
    said = await sockets["aether"].ask('{"msg_type":"msg","target":"group","msg":"hi"}')
    assert json.loads(said)["group_id"] == "ein Raum: ü"
    for name in ("nexus", "bare nexus"):
        assert '"pong"' in await sockets[name].ask('{"action":"ping"}')
    await asyncio.wait_for(await sockets["admin"].ping(), WITHIN_S)


async def test_every_protocol_upgrades_and_a_restart_says_come_back(serve, nginx, dial):
    server = serve(DRAIN_S="2", **TRUST)
    sockets = await everybody(nginx(server), dial)
    await all_answer(sockets)
    ended = asyncio.create_task(asyncio.to_thread(server.terminate))
    for name, socket in sockets.items():
        assert await socket.closed() == (1012, "server restarting"), name
    assert await ended == 0


@pytest.mark.timeout(300)
async def test_sixty_one_seconds_of_silence_end_nobody_with_pings_or_without(serve, nginx, dial):
    pinged = await everybody(nginx(serve(**TRUST)), dial)
    unpinged = await everybody(nginx(serve(PING_INTERVAL_S="600", **TRUST)), dial)

    async def silence(socket: Socket) -> None:
        began = time.monotonic()
        while (left := began + SILENCE_S - time.monotonic()) > 0:
            try:
                heard = await asyncio.wait_for(socket.recv(), left)
            except TimeoutError:
                return
            assert "changed" in str(heard), "an admin page hears who else has come"

    both = [*pinged.values(), *unpinged.values()]
    await asyncio.gather(*[silence(socket) for socket in both])
    assert {socket.pings for socket in unpinged.values()} == {0}
    for socket in pinged.values():
        await asyncio.wait_for(socket.twice.wait(), WITHIN_S)
    await all_answer(pinged)
    await all_answer(unpinged)


async def test_every_close_keeps_its_code_and_its_reason(serve, nginx, dial):
    server = serve(**TRUST)
    proxy = nginx(server)
    edge = "/edge/ws?edge_agent_id=edge_1"
    missing = await dial(proxy, edge)
    assert await missing.closed() == (4001, "Missing or invalid Authorization header")
    wrong = await dial(proxy, edge, Authorization="Bearer wrong")
    assert await wrong.closed() == (1008, "permission denied: the bearer is not this agent's")
    older = await dial(proxy, edge, **bearer(server))
    assert await older.ask(PING) == '{"type":"pong"}'
    newer = await dial(proxy, edge, **bearer(server))
    assert await older.closed() == (4009, "replaced by a newer connection")
    assert await newer.ask(PING) == '{"type":"pong"}'
    session = await asyncio.to_thread(a_session, proxy)
    works = as_printed(await asyncio.to_thread(shell, server, MAKE_KEY))
    for path, headers, said in [
        (f"{session}/subscribe", {}, (4003, "credentials are required")),
        (
            f"{session}/worker",
            ALICE,
            (4003, "a worker shows an API key with the scope sessions.work"),
        ),
        (f"{session}s/subscribe", ALICE, (4001, "session not found")),
    ]:
        refused = await dial(proxy, path, **headers)
        code, reason = await refused.closed()
        assert (code, reason.partition(": session_")[0]) == said, path
    older = await dial(proxy, f"{session}/worker", **works)
    assert await older.ask(ALIVE) == ALIVE
    newer = await dial(proxy, f"{session}/worker", **works)
    assert await older.closed() == (4009, "replaced by a newer connection")
    assert await newer.ask(ALIVE) == ALIVE
    short = await dial(proxy, f"/nexus/ws?token={token_of(server, exp=int(time.time()) + 7)}")
    assert await short.closed() == (4003, "credentials have expired")
    for path, most in [
        (f"{session}/subscribe", 1024 * 1024),
        (group_path("g", "c", api_key=key_of("alice")), 64 * 1024),
        ("/ws", 512 * 1024),
        (f"/ws?token={token_of(server)}", 1024 * 1024),
    ]:
        socket = await dial(proxy, path, **(ALICE if path.startswith(session) else {}))
        await socket.send("x" * (most + 1))
        code, reason = await socket.closed()
        assert code == 1009 and reason, path


def test_every_refusal_keeps_its_status_and_its_body(serve, nginx):
    server = serve(**TRUST)
    with browser(nginx(server)) as http:
        for path, status, words in [
            ("/ws?token=", 401, "token is required"),
            ("/?token=", 401, "token is required"),
            ("/nexus/ws", 401, "token is required"),
            ("/nexus/ws?token=wrong", 403, "token is not valid"),
            (group_path("g", "c"), 403, "api_key or jwt is required"),
            (group_path("g", "c", api_key="wrong"), 403, "api_key is not valid"),
            ("/v3/ws/group/g/client/" + "x" * 129, 404, "128 characters"),
            ("/ws/group/g/client/c", 404, "this path has moved: connect to /v3/ws/group/"),
            ("/nowhere", 404, "no WebSocket answers at /nowhere"),
        ]:
            answer = http.get(path, headers=HANDSHAKE)
            assert (answer.status_code, answer.headers["Content-Type"]) == (
                status,
                "application/json",
            ), path
            assert words in answer.json()["error"]["message"], path
        assert http.get("/admin/ws", headers={**HANDSHAKE, "Origin": server.url}).status_code == 403
        stranger = http.get("/ws", headers={**HANDSHAKE, "Host": "evil.example"})
        assert stranger.status_code == 400
        assert http.get("/metrics").status_code == 404


async def test_the_gateway_sees_its_peers_own_addresses(serve, nginx, dial):
    proxy = nginx(serve(**TRUST))
    forged = {"X-Forwarded-For": "203.0.113.9", "X_Forwarded_For": "203.0.113.9"}
    member = await dial(
        proxy, group_path("g", "c", api_key=key_of("alice")), address="127.0.0.2", **forged
    )
    assert await member.ask('{"msg_type":"heartbeat","target":"echo"}')
    with browser(proxy) as http:
        root = {"Authorization": f"Bearer {key_of('root')}"}
        (row,) = http.get("/api/connections/", headers=root).json()["results"]
        assert row["address"] == "127.0.0.2"
    wrong = group_path("g", "c", api_key="guess")
    with browser(proxy, "127.0.0.3") as guesser, browser(proxy, "127.0.0.4") as neighbour:
        for _ in range(60):  # slowly, one more is allowed every six seconds
            answer = guesser.get(wrong, headers={**HANDSHAKE, **forged})
            if answer.status_code == 429:
                break
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) >= 1
        assert neighbour.get(wrong, headers=HANDSHAKE).status_code == 403


def test_uploads_of_the_largest_file_pass_and_larger_bodies_are_refused_in_json(serve, nginx):
    server = serve(**TRUST)
    largest = samples.png(rest=bytes(50 * 1024 * 1024 - len(samples.png())))
    bad_form = {"code": "INVALID_REQUEST", "message": "file too large or invalid multipart form"}
    with browser(nginx(server)) as http:
        for content, headers, status in [
            (largest, ALICE, 200),
            (largest + bytes(1024 * 1024), ALICE, 400),
            (largest + bytes(2 * 1024 * 1024), ALICE, 400),
            # Whole before it is judged: of a large one nginx may see no more than the close.
            (samples.png(), {}, 401),
        ]:
            files = {"file": ("dot.png", content, "image/png")}
            answer = http.post("/api/media/upload", files=files, headers=headers)
            assert answer.status_code == status, answer.text
            assert status != 400 or answer.json()["error"] == bad_form
            if status == 200:
                path = f"/v1/media/{answer.json()['path']}"
                assert http.get(path, headers=ALICE).content == content
        body = {"data": "x" * (2 * 1024 * 1024)}
        answer = http.post("/api/topics/t/publish/", json=body, headers=ALICE)
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "TOO_LARGE"


async def test_no_token_is_in_a_log_whatever_becomes_of_the_request(serve, nginx, dial):
    server = serve(**TRUST)
    proxy = nginx(server)
    token, key = token_of(server), key_of("alice")
    session = await asyncio.to_thread(a_session, proxy)
    paths = [
        f"/ws?token={token}",
        group_path("g", "c", api_key=key, jwt=token),
        # 002 takes none in its query: who puts one there all the same does not find it in a log.
        f"{session}/subscribe?organization_uuid=default&access_token={key}",
    ]
    first = await dial(proxy, paths[0])
    assert '"connected"' in await first.hear()
    viewer = await dial(proxy, paths[2], **ALICE)
    assert await viewer.ask(ALIVE) == ALIVE
    with browser(proxy) as http:
        referring = {"Referer": f"{proxy.url}/?token={token}"}
        assert http.get(paths[1], headers={**HANDSHAKE, **referring}).status_code == 403
        await asyncio.to_thread(server.kill)
        await first.closed()
        for path in paths:
            answer = http.get(path, headers={**HANDSHAKE, **referring})
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
            assert answer.json()["error"]["code"] == "UNAVAILABLE"
    for line in (
        "GET /ws 101",
        "GET /v3/ws/group/g/client/c 503",
        f"GET {session}/subscribe 101",
        f"GET {session}/subscribe 503",
    ):
        await until(lambda line=line: line in proxy.said())  # it logs after it has answered
    assert token not in proxy.said() and key not in proxy.said()
