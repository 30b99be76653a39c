"""F-11, F-12: the database is restarted or stalls, or its line is cut after COMMIT was sent."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

import pytest

from tests.chaos.checker import check
from tests.chaos.fleet import Caller, count, ended
from tests.services import FaultProxy

pytestmark = [pytest.mark.live, pytest.mark.chaos, pytest.mark.timeout(240), pytest.mark.postgres]

NAMES = [f"edge_{number}" for number in range(count(10, 200))]
QUICK = {"COMMAND_LEASE_S": "2", "NODE_LEASE_S": "5"}


@pytest.mark.parametrize("how", ["SIGINT", "SIGQUIT", "SIGSTOP"])
async def test_f11_postgresql_restarts_or_stalls(serve, agents, postgres_service, how):
    """SIGINT: its fast shutdown; SIGQUIT: its immediate one."""
    server = serve(database="postgres", **QUICK)
    crowd = agents(NAMES, server)
    caller = Caller([server.url], NAMES)
    await caller.send(len(NAMES))
    work = asyncio.create_task(caller.send(count(40, 400), at_once=8))
    if how == "SIGSTOP":
        postgres_service.stop()
        await asyncio.sleep(count(2, 10))
        postgres_service.cont()
    else:
        os.kill(postgres_service.pid, signal.Signals[how])
        await asyncio.to_thread(postgres_service.exit_code)
        await asyncio.to_thread(postgres_service.start)
    await work
    await caller.send(8)
    url = server.environ["DATABASE_URL"]
    await ended(url)
    check(url, caller.accepted.values(), crowd.lines())
    assert {answer.status for answer in caller.answers} <= {200, 201, 503}
    assert all(answer.retry_after for answer in caller.answers if answer.status == 503)
    assert not crowd.lines("lost"), "the agents' sockets stay"


class CommitCut(FaultProxy):
    """Passes COMMIT on to the server, and resets the line instead of bringing the answer."""

    armed = False
    cut = 0

    def _send(self, sink: socket.socket, data: bytes) -> None:
        if self.armed and sink.getpeername() == self.target and b"COMMIT\0" in data:
            self.cut += 1
            sink.sendall(data)
            raise ConnectionResetError("cut after COMMIT")
        super()._send(sink, data)


async def test_f12_nobody_knows_whether_it_was_committed(serve, agents, postgres_service):
    """The request again with its key: the same command, and never a second one."""
    server = serve("--no-dispatcher", database="postgres", **QUICK)
    crowd = agents(NAMES[:2], server)
    with CommitCut("127.0.0.1", postgres_service.port) as proxy:
        port, cut = str(postgres_service.port), str(proxy.port)
        url = server.environ["DATABASE_URL"]
        behind = serve(beside=server, DATABASE_URL=url.replace(port, cut))
        caller = Caller([behind.url], NAMES[:2])
        in_all = count(6, 200)
        for _ in range(in_all):
            said = len(caller.answers)
            proxy.armed = True
            work = asyncio.create_task(caller.send(1))
            while not work.done() and len(caller.answers) == said:
                await asyncio.sleep(0.002)
            proxy.armed = False
            await work
        assert proxy.cut >= in_all
        again = [answer.status for answer in caller.answers].count(200)
        assert again, "some had been committed: their key found them"
        await ended(url)
        books = check(url, caller.accepted.values(), crowd.lines())
        assert len(books.commands) == in_all
