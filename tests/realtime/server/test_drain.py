"""How the process leaves: what it still does, what it says last, with which status it ends."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from realtime.server.drain import raise_open_file_limit
from tests.realtime.server.conftest import PATIENCE_S, PING, PONG, TEXT, Peer, close_frame, until

ROOT = Path(__file__).resolve().parents[3]
SERVER = Path(__file__).with_name("draining_server.py")


class Process:
    """A server of its own; `lines` is what it said so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self.peers: list[Peer] = []
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode().strip())

    async def port(self) -> int:
        await until(lambda: any(line.startswith("port ") for line in self.lines), 60)
        return int(next(line for line in self.lines if line.startswith("port "))[5:])

    async def said(self, line: str) -> None:
        await until(lambda: line in self.lines)

    async def peer(self) -> Peer:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", await self.port()))
        self.peers.append(peer)
        return peer

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), PATIENCE_S)


@pytest.fixture
async def server() -> AsyncIterator[Callable[..., Any]]:
    started: list[Process] = []

    async def start(*arguments: str) -> Process:
        process = Process(
            await asyncio.create_subprocess_exec(
                sys.executable,
                str(SERVER),
                *arguments,
                cwd=ROOT,
                env={"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        )
        started.append(process)
        return process

    yield start
    for process in started:
        for peer in process.peers:
            peer.writer.transport.abort()
        with contextlib.suppress(ProcessLookupError):
            process.process.kill()
        await process.process.wait()
        await process.reading
        assert not any("Traceback" in line for line in process.lines), process.lines


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_an_idle_server_with_status_0(server, sent):
    process = await server()
    await process.port()
    began = time.monotonic()
    process.process.send_signal(sent)
    assert await process.ended() == 0
    assert time.monotonic() - began < 10
    await until(lambda: process.reading.done())
    assert process.lines[-3:] == ["drain begins 1.0", "drain ends", "lifespan ended"]


async def test_while_it_drains_it_serves_what_is_open_and_takes_nothing_new(server):
    process = await server("--drain-s", "20", "--application-drain", "until-told")
    web, other, socket = await process.peer(), await process.peer(), await process.peer()
    web.request("/slow")
    await process.said("request /slow")
    other.request("/quick")
    assert (await other.answer()).headers.get("connection") is None
    await socket.open()
    process.process.send_signal(signal.SIGTERM)
    await process.said("drain begins 20.0")
    with pytest.raises(OSError):
        await process.peer()
    socket.frame(TEXT, b"still served")
    assert await socket.text() == "still served"
    other.request("/quick")
    answer = await other.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert await other.ended() == b""
    socket.frame(TEXT, b"release")
    assert await socket.text() == "release"
    assert (await web.answer()).status == 200
    assert await socket.closing() == (1012, "server restarting")
    socket.send(close_frame(1012))
    assert await process.ended() == 0
    await process.said("socket told 1012")


async def test_a_request_in_flight_may_use_what_is_left_of_the_time(server):
    process = await server("--drain-s", "20")
    web = await process.peer()
    web.request("/upload", "POST", Content_Length="4")
    await process.said("request /upload")
    process.process.send_signal(signal.SIGTERM)
    await process.said("drain ends")
    assert await web.is_quiet(0.2)
    web.send(b"body")
    assert (await web.answer()).status == 200
    assert await process.ended() == 0


async def test_what_serves_a_socket_ends_before_the_lifespan(server):
    process = await server()
    socket = await process.peer()
    await socket.open()
    process.process.send_signal(signal.SIGTERM)
    assert await socket.closing() == (1012, "server restarting")
    socket.send(close_frame(1012))
    assert await process.ended() == 0
    await until(lambda: process.reading.done())
    assert process.lines[-2:] == ["socket cleaned up", "lifespan ended"]


async def test_an_upgrade_while_it_drains_is_refused(server):
    process = await server("--drain-s", "20", "--application-drain", "until-told")
    late, socket = await process.peer(), await process.peer()
    late.request("/quick")
    assert (await late.answer()).status == 200
    await socket.open()
    process.process.send_signal(signal.SIGTERM)
    await process.said("drain begins 20.0")
    late.upgrade()
    assert (await late.answer()).status == 503
    socket.frame(TEXT, b"release")
    assert (await socket.closing())[0] == 1012
    socket.send(close_frame(1012))
    assert await process.ended() == 0


async def test_the_drain_is_bounded_and_the_rest_is_closed_1012(server):
    process = await server("--drain-s", "0.5", "--application-drain", "forever")
    web, socket, deaf = await process.peer(), await process.peer(), await process.peer()
    await socket.open()
    await deaf.open()
    web.request("/endless")
    await process.said("request /endless")
    began = time.monotonic()
    process.process.send_signal(signal.SIGTERM)
    assert await socket.closing() == (1012, "server restarting")
    assert 0.4 < time.monotonic() - began < 10
    assert await process.ended() == 0  # though one peer never answers, and one request never ends
    assert time.monotonic() - began < 20
    await until(lambda: process.reading.done())
    assert process.lines[-1] == "lifespan ended"


async def test_a_failing_drain_does_not_keep_the_process(server):
    process = await server("--drain-s", "20", "--application-drain", "fails")
    socket = await process.peer()
    await socket.open()
    process.process.send_signal(signal.SIGTERM)
    assert await socket.closing() == (1012, "server restarting")
    socket.send(close_frame(1012))
    assert await process.ended() == 0
    assert any("drain.failed" in line for line in process.lines)
    process.lines[:] = [line for line in process.lines if "Traceback" not in line]


async def test_pings_are_answered_while_it_drains(server):
    process = await server("--drain-s", "20", "--application-drain", "until-told")
    socket = await process.peer()
    await socket.open()
    process.process.send_signal(signal.SIGTERM)
    await process.said("drain begins 20.0")
    socket.frame(PING, b"there?")
    assert await socket.read_frame() == (PONG, b"there?")
    socket.frame(TEXT, b"release")
    assert (await socket.closing())[0] == 1012
    socket.send(close_frame(1012))
    assert await process.ended() == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(server, second):
    process = await server("--drain-s", "30", "--application-drain", "forever")
    socket = await process.peer()
    await socket.open()
    process.process.send_signal(signal.SIGTERM)
    await process.said("drain begins 30.0")
    began = time.monotonic()
    process.process.send_signal(second)
    assert await process.ended() == -second
    assert time.monotonic() - began < 10


def test_the_limit_of_open_files_is_raised_to_what_is_allowed():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft), hard))
        assert raise_open_file_limit() == hard
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
