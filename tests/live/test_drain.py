"""SIGTERM: everybody is told, closed over DRAIN_S, what runs is finished, the exit is clean."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.live.line import SOON_S
from tests.services.people import key_of

pytestmark = [pytest.mark.live, pytest.mark.own_server]


async def test_a_restart_tells_everybody_and_finishes_what_runs(serve, join):
    server = serve(DRAIN_S="6", CONNECT_TIMEOUT_S="60", database="sqlite")
    key = key_of("alice")
    clients = [await join(server, token=key) for _ in range(12)]
    waiting = await join(server)
    await clients[0].send("chat.send", message="slow 1", sessionKey="s")
    await clients[0].event("agent", "run.started")
    began = time.monotonic()
    stopped = asyncio.create_task(asyncio.to_thread(server.terminate))
    ended = []

    async def end_of(client):
        close = await client.closed()
        ended.append(time.monotonic() - began)
        return close

    closes = await asyncio.gather(*[end_of(client) for client in [*clients, waiting]])
    assert set(closes) == {(1012, "server restarting")}
    assert max(ended) - min(ended) > 0.5, "not all at once"
    assert max(ended) < 6 + SOON_S
    for client in clients:
        assert (await client.event("shutdown"))["reason"] == "server restarting"
    assert await stopped == 0
    server.start()
    again = await join(server, token=key)
    messages = (await again.ask("chat.history", sessionKey="s"))["messages"]
    assert messages[-1]["role"] == "assistant", "the run was finished, not cut off"


async def test_a_run_that_does_not_end_in_time_is_recorded_as_failed(serve, join):
    server = serve(DRAIN_S="5", database="sqlite")  # two seconds of it are to record the run
    alice = await join(server, token=(key := key_of("alice")))
    await alice.send("chat.send", message="slow 60", sessionKey="s")
    await alice.event("agent", "run.started")
    assert await asyncio.to_thread(server.terminate) == 0
    server.start()
    again = await join(server, token=key)
    assert not (await again.ask("chat.session.status", sessionKey="s"))["isRunning"]
    read = "from sessions_app.models import Run; print(*Run.objects.values_list('status', 'error'))"
    assert "('failed', 'server restarting')" in server.run("shell", "--no-imports", "-c", read)


async def test_nobody_gets_in_while_the_server_leaves(serve, join):
    server = serve(DRAIN_S="2", database="sqlite")
    alice = await join(server, token=key_of("alice"))
    stopped = asyncio.create_task(asyncio.to_thread(server.terminate))
    await alice.event("shutdown")
    with pytest.raises(OSError):
        await join(server)
    await stopped
