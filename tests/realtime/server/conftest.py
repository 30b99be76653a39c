"""A real server on a free port with an application of the test's own, and a raw peer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import uvloop
from uvicorn import Config
from uvicorn.server import ServerState

from realtime.server.http import GatewayHttpProtocol
from realtime.server.websocket import GatewayWebSocketProtocol

UPGRADE = {
    "Host": "chat.example",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
PATIENCE_S = 30.0  # for what a busy machine does at last
TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], Any]]:
    """Both event loops, where the server runs in the test's own: production takes uvloop."""
    if item.path.name == "test_size.py":
        return {"uvloop": uvloop.new_event_loop}
    if item.path.name in ("test_drain.py", "test_proxy.py"):
        return {"asyncio": asyncio.new_event_loop}
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Answer:
    """One HTTP response."""

    def __init__(self, head: bytes, body: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
        self.body = body

    @property
    def error(self) -> dict[str, str]:
        error: dict[str, str] = json.loads(self.body)["error"]
        return error


class Peer:
    """A client that says exactly what the test says; every read has a deadline."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def read(self, count: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(count), PATIENCE_S)

    async def answer(self) -> Answer:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        answer = Answer(head[:-4], b"")
        if "content-length" in answer.headers:
            answer.body = await self.read(int(answer.headers["content-length"]))
        return answer

    async def ended(self, within_s: float = PATIENCE_S) -> bytes:
        """What still came before the server ended the connection."""
        with contextlib.suppress(ConnectionResetError):
            return await asyncio.wait_for(self.reader.read(), within_s)
        return b""

    async def is_quiet(self, seconds: float = 0.1) -> bool:
        """Whether nothing comes and nothing ends for that long."""
        try:
            await asyncio.wait_for(self.reader.read(1), seconds)
        except TimeoutError:
            return True
        return False

    def request(self, path: str = "/", method: str = "GET", **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.send(head(method, path, {"Host": "chat.example", **named}))

    def upgrade(self, path: str = "/ws", rest: bytes = b"", **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.send(head("GET", path, {**UPGRADE, **named}) + rest)

    async def open(self, path: str = "/ws", **headers: str) -> Answer:
        self.upgrade(path, **headers)
        answer = await self.answer()
        assert answer.status == 101, answer.body
        return answer

    def frame(self, opcode: int, payload: bytes = b"", **options: Any) -> None:
        self.send(frame(opcode, payload, **options))

    async def read_frame(self) -> tuple[int, bytes]:
        first, second = await self.read(2)
        assert first & 0x80, "the server never fragments"
        assert first & 0x70 == 0
        assert second & 0x80 == 0, "the server never masks"
        length = second
        if second == 126:
            length = int.from_bytes(await self.read(2), "big")
        elif second == 127:
            length = int.from_bytes(await self.read(8), "big")
        return first & 0x0F, await self.read(length)

    async def text(self) -> str:
        opcode, payload = await self.read_frame()
        assert opcode == TEXT, (opcode, payload)
        return payload.decode()

    async def closing(self) -> tuple[int, str]:
        """The server's close frame, behind whatever it sent before."""
        while True:
            opcode, payload = await self.read_frame()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big"), payload[2:].decode()


def head(method: str, path: str, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {headers[name]}" for name in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    declared: int | None = None,
) -> bytes:
    """One client frame with a zero mask, so that the payload stays readable."""
    length = len(payload) if declared is None else declared
    mask_bit = 0x80 if masked else 0
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    if length < 126:
        size = bytes([mask_bit | length])
    elif length < 65536:
        size = bytes([mask_bit | 126]) + length.to_bytes(2, "big")
    else:
        size = bytes([mask_bit | 127]) + length.to_bytes(8, "big")
    return bytes([first]) + size + (bytes(4) if masked else b"") + payload


def close_frame(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


class Served:
    """A listening server; `scopes` are the connections that its application has seen."""

    def __init__(self, listener: asyncio.Server, state: ServerState) -> None:
        self.listener, self.state = listener, state
        self.port: int = listener.sockets[0].getsockname()[1]
        self.scopes: list[dict[str, Any]] = []
        self._peers: list[Peer] = []

    async def peer(self, **options: Any) -> Peer:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.port, **options))
        self._peers.append(peer)
        return peer

    async def end(self) -> None:
        self.listener.close()
        for peer in self._peers:
            peer.writer.transport.abort()
        for connection in list(self.state.connections):
            connection.transport.abort()
        await until(lambda: not self.state.connections and not self.state.tasks)


Serve = Callable[..., Any]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a server for `app`; `http` and `ws` are attributes that shorten its deadlines."""
    started: list[Served] = []

    async def start(
        app: Any,
        *,
        http: dict[str, Any] | None = None,
        ws: dict[str, Any] | None = None,
        **options: Any,
    ) -> Served:
        def remember(scope: Any, receive: Any, send: Any) -> Any:
            served.scopes.append(scope)
            return app(scope, receive, send)

        options = {"ws_per_message_deflate": False, "ws_max_size": 1024 * 1024, **options}
        config = Config(
            remember,
            http=type("Http", (GatewayHttpProtocol,), http or {}),
            ws=type("WebSocket", (GatewayWebSocketProtocol,), ws or {}),
            lifespan="off",
            log_config=None,
            interface="asgi3",
            proxy_headers=False,
            **options,
        )
        config.load()
        loop, state = asyncio.get_running_loop(), ServerState()
        listener = await loop.create_server(
            lambda: config.http_protocol_class(config, state, {}, loop),  # type: ignore[call-arg]
            "127.0.0.1",
            0,
        )
        served = Served(listener, state)
        started.append(served)
        return served

    yield start
    for served in started:
        await served.end()


@pytest.fixture(autouse=True)
def expected_faults(caplog: pytest.LogCaptureFixture) -> Iterator[set[str]]:
    """No peer may cause an error line or a traceback; a test adds what it provokes on purpose."""
    expected: set[str] = set()
    caplog.set_level(logging.INFO)
    yield expected
    for record in caplog.get_records("call"):
        text = record.getMessage()
        if not any(known in text for known in expected):
            assert record.levelno < logging.ERROR and not record.exc_info, text


async def until(condition: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
    """Wait for `condition()` to be true, looking every millisecond; its value."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not (value := condition()):
        assert asyncio.get_running_loop().time() < deadline, "the condition never came true"
        await asyncio.sleep(0.001)
    return value
