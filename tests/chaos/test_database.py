"""F-11, F-12: the database is restarted or stalls, or its line is cut after COMMIT was sent."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time

import pytest

from tests.chaos.checker import check
from tests.chaos.fleet import Caller, count, ended, eventually
from tests.services import FaultProxy

pytestmark = [pytest.mark.live, pytest.mark.chaos, pytest.mark.timeout(240), pytest.mark.postgres]

NAMES = [f"edge_{number}" for number in range(count(10, 200))]
QUICK = {"COMMAND_LEASE_S": "2", "NODE_LEASE_S": "5"}
ON_THE_WAY_S = 1.0  # of an answer, on a busy machine


@pytest.mark.parametrize("how", ["SIGINT", "SIGQUIT", "SIGSTOP"])
async def test_f11_postgresql_restarts_or_stalls(serve, agents, postgres_service, how):
    """SIGINT: its fast shutdown; SIGQUIT: its immediate one. Frozen, it answers nothing at all."""
    server = serve(database="postgres", **QUICK)
    crowd = agents(NAMES, server)
    caller = Caller([server.url], NAMES)
    await caller.send(len(NAMES))
    async with caller.steadily(count(4, 20)):
        await eventually(lambda: len(caller.accepted) > len(NAMES) + 8, what="load")
        # 5 s, and what this machine takes anyhow.
        within_s = 5 + 2 * max(answer.took_s for answer in caller.answers)
        away_s = time.monotonic()
        if how == "SIGSTOP":
            postgres_service.stop()
            await asyncio.sleep(count(4, 10))  # longer than a request waits
            postgres_service.cont()
        else:
            os.kill(postgres_service.pid, signal.Signals[how])
            await asyncio.to_thread(postgres_service.exit_code)
            await asyncio.to_thread(postgres_service.start)
        back_s = time.monotonic()
        (first,) = await caller.send(1)
        left_s = back_s + within_s - time.monotonic()
        await eventually(lambda: first in crowd.seen(), left_s, "delivery after it was back")
    url = server.environ["DATABASE_URL"]
    await ended(url)
    check(url, caller.accepted.values(), crowd.lines())
    refused = [answer for answer in caller.answers if answer.status not in {200, 201}]
    assert {answer.status for answer in refused} <= {503}
    assert all(answer.retry_after and answer.took_s < within_s for answer in refused)
    assert not [answer for answer in refused if answer.began_s > back_s + within_s]
    assert refused or how != "SIGSTOP", "those who asked meanwhile were told to come again"
    accepted = [answer.ended_s for answer in caller.answers if answer not in refused]
    meanwhile = [at_s for at_s in accepted if away_s + ON_THE_WAY_S < at_s < back_s]
    assert not meanwhile or how != "SIGSTOP", "accepted by nobody"
    assert not crowd.lines("lost"), "the agents' sockets stay"
    assert "internal_fault" not in server.log()


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
