"""What one open, idle socket keeps of its server's process: counted, not measured as a process."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.http11 import Request, Response
from websockets.protocol import Protocol as Conversation

from realtime import node
from realtime.bus.hub import Hub
from realtime.consumers import GatewayConsumer
from realtime.core.principal import Principal
from realtime.protocols.edge import EdgeProtocol
from realtime.server.body import BodyCap
from realtime.server.http import GatewayHttpProtocol
from realtime.server.proxy import TrustedProxies
from realtime.server.websocket import GatewayWebSocketProtocol
from tests.doubles import FakeServices
from tests.realtime.server.conftest import UPGRADE, Serve, Served, frame, head, until

SOCKETS = 50
HEADERS = {**UPGRADE, "Host": "127.0.0.1", "Authorization": "Bearer " + "s" * 200}
PING, PONG = frame(0x1, b'{"type":"ping"}'), b'\x81\x0f{"type":"pong"}'


class Agents(FakeServices):
    """Every bearer is an agent's; nothing waits for it."""

    identity = Principal(id="edge_1", via="edge", handles=("agent:edge_1", "agent-secret:edge_1"))
    answer = {"commands": [], "more": False}

    def __init__(self) -> None:
        self.log: Any = SimpleNamespace(append=lambda line: None)
        self.on_arrive = None


@pytest.fixture
async def served(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Served:
    """The way of an agent's socket through this process, without database and Redis."""
    house = SimpleNamespace(hub=Hub(), services=Agents(), connections={})

    async def started() -> Any:
        return house

    def application(scope: Any, receive: Any, send: Any) -> Any:
        consumer = GatewayConsumer(protocol=EdgeProtocol, max_frame_bytes=1024)
        return consumer({**scope, "url_route": {"kwargs": {}}}, receive, send)

    caplog.set_level(logging.WARNING, "gateway")  # kept lines are none of the socket's
    monkeypatch.setattr(node, "ensure_started", started)
    capped = BodyCap(application, limits=[], default_max_bytes=1024)
    server: Served = await serve(TrustedProxies(capped, []))
    return server


@pytest.fixture
def lines() -> Iterator[list[socket.socket]]:
    opened: list[socket.socket] = []
    yield opened
    for line in opened:
        line.close()


@pytest.fixture
async def traced() -> AsyncIterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


async def connect(served: Served, lines: list[socket.socket], wanted: int) -> None:
    """Agents that have been let in, and have said something."""
    await asyncio.to_thread(_connect, served.port, lines, wanted)
    served.scopes.clear()
    await until(lambda: len(asyncio.all_tasks()) == len(served.state.tasks) + 1)


def _connect(port: int, lines: list[socket.socket], wanted: int) -> None:
    for _ in range(wanted):
        line = socket.create_connection(("127.0.0.1", port), timeout=30)
        lines.append(line)
        line.sendall(head("GET", "/ws?edge_agent_id=edge_1", HEADERS) + PING)
        said = b""
        while not said.endswith(PONG):
            more = line.recv(4096)
            assert more, said
            said += more


def alive() -> Counter[type]:
    """Everything that the garbage collector knows of, by its type."""
    return Counter(map(type, gc.get_objects()))


def requests() -> int:
    """How many ASGI scopes of sockets there are."""
    found = gc.get_objects()
    return sum(1 for one in found if type(one) is dict and one.get("type") == "websocket")


def number(found: Counter[type], kind: type) -> int:
    """How many are of that kind, or of one made of it."""
    return sum(count for one, count in found.items() if issubclass(one, kind))


async def test_an_open_socket_has_one_task_and_nothing_of_its_handshake(served, lines):
    gc.collect()
    before, scopes = alive(), requests()
    await connect(served, lines, SOCKETS)
    gc.collect()
    more = alive() - before
    assert number(more, GatewayWebSocketProtocol) == len(served.state.tasks) == SOCKETS
    assert more[Request] == more[Response] == 0
    assert requests() <= scopes
    assert sum(more.values()) < 70 * SOCKETS, more.most_common(20)


async def test_an_open_socket_leaves_no_garbage_to_be_collected(served, lines):
    gc.collect()
    gc.disable()
    try:
        before = alive()
        await connect(served, lines, SOCKETS)
        left = alive() - before
    finally:
        gc.enable()
    assert number(left, GatewayHttpProtocol) == 0
    assert number(left, Conversation) == SOCKETS


async def test_an_idle_socket_is_small(served, lines, traced):
    await connect(served, lines, 5)
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    await connect(served, lines, SOCKETS)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    assert (after - before) / SOCKETS < 12 * 1024
