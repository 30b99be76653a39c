"""F-11, F-12: the database is restarted or stalls, or its line is cut after COMMIT was sent."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import socket
import time

import pytest

from tests.chaos.checker import check
from tests.chaos.fleet import Caller, count, ended, eventually
from tests.services import FaultProxy

pytestmark = [
    pytest.mark.live,
    pytest.mark.chaos,
    pytest.mark.postgres,
    pytest.mark.timeout(count(120, 600)),
]

NAMES = [f"edge_{number}" for number in range(count(10, 200))]
QUICK = {"COMMAND_LEASE_S": "2", "NODE_LEASE_S": "5"}
SOON_S = count(20, 5)  # five, but where other tests run beside it


async def test_f11_postgresql_restarts_and_stalls(serve, agents, postgres_service):
    """Its fast shutdown, its immediate one, and a standstill in which it answers nothing at all."""
    server = serve(database="postgres", **QUICK)
    crowd = agents(NAMES, server)
    caller = Caller([server.url], NAMES)
    await caller.send(len(NAMES))
    still: list[float] = []  # from when on it answered nothing, and until when

    async def fall(away) -> None:
        caller.answers.clear()
        async with caller.steadily(count(4, 20)):
            await eventually(lambda: len(caller.answers) > 8, what="load")
            # And what this machine takes anyhow.
            within_s = SOON_S + 2 * max(answer.took_s for answer in caller.answers)
            await away()
            back_s = time.monotonic()
            (first,) = await caller.send(1)
            left_s = back_s + within_s - time.monotonic()
            await eventually(lambda: first in crowd.seen(), left_s, "delivery when it was back")
        refused = [answer for answer in caller.answers if answer.status not in {200, 201}]
        assert {answer.status for answer in refused} <= {503}
        assert all(answer.retry_after and answer.took_s < within_s for answer in refused)
        assert not [answer for answer in refused if answer.began_s > back_s + within_s]
        if away is stall:
            assert refused, "those who asked meanwhile were told to come again"
            stood, went_on = still
            asked = [answer for answer in caller.answers if answer.began_s > stood]
            assert not [one for one in asked if one not in refused and one.ended_s < went_on], (
                "accepted by nobody"
            )

    async def restart(how: signal.Signals) -> None:
        os.kill(postgres_service.pid, how)
        await asyncio.to_thread(postgres_service.exit_code)
        await asyncio.to_thread(postgres_service.start)

    async def stall() -> None:
        postgres_service.stop()
        still.append(time.monotonic())
        await asyncio.sleep(count(6, 10))  # longer than a request waits
        still.append(time.monotonic())
        postgres_service.cont()

    await fall(functools.partial(restart, signal.SIGINT))
    await fall(functools.partial(restart, signal.SIGQUIT))
    await fall(stall)
    url = server.environ["DATABASE_URL"]
    await ended(url)
    check(url, caller.accepted.values(), crowd.lines())
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
        in_all, asked = count(6, 200), 0
        # 200: it had been committed, and its key found it.
        while asked < in_all or 200 not in {answer.status for answer in caller.answers}:
            asked, said, cut = asked + 1, len(caller.answers), proxy.cut
            proxy.armed = True
            work = asyncio.create_task(caller.send(1))
            while len(caller.answers) == said or proxy.cut == cut:
                assert not work.done(), "without a COMMIT"
                await asyncio.sleep(0.002)
            proxy.armed = False
            await work
        await ended(url)
        books = check(url, caller.accepted.values(), crowd.lines())
        assert len(books.commands) == asked
