"""Redis is a hint: killed, restarted, frozen or absent, nothing is lost and no socket closes."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.doubles import until
from tests.live.line import PATIENCE_S, SOON_S
from tests.services.people import key_of

pytestmark = [pytest.mark.live, pytest.mark.postgres, pytest.mark.redis]

LOSSES = ("bus.down", "bus.resubscribed", "bus.receive_failed")


async def test_redis_killed_and_restarted_under_open_sockets(serve, join, redis_service):
    here = serve(database="postgres")
    there = serve(beside=here)
    key = key_of("alice")
    laptop, phone = await join(here, token=key), await join(there, token=key)
    redis_service.kill()
    answer = await laptop.ask("chat.send", message="without redis", sessionKey="s", stream=True)
    assert answer["content"] == "without redis"
    assert laptop.run_events(answer["runId"])[-1] == "run.completed"
    # The other process hears of what was committed, by itself.
    await phone.run_event(answer["runId"], "run.completed", within_s=SOON_S)
    before = here.log().count("bus.up")
    redis_service.restart()
    await phone.event("resync")
    await until(lambda: here.log().count("bus.up") > before)
    heard: list[str] = []
    async with asyncio.timeout(PATIENCE_S):
        while "chunk" not in heard:  # at most once: its run may end here before it comes
            said = {"message": "with redis", "sessionKey": "s", "stream": True}
            answer = await laptop.ask("chat.send", **said)
            await phone.run_event(answer["runId"], "run.completed")
            heard = phone.run_events(answer["runId"])
    history = (await phone.ask("chat.history", sessionKey="s"))["messages"]
    assert [m["content"] for m in history[:2]] == ["without redis"] * 2
    assert {m["content"] for m in history[2:]} == {"with redis"}


async def test_a_frozen_redis_holds_nobody_up(serve, join, redis_service):
    server = serve(database="postgres")
    alice = await join(server, token=key_of("alice"))
    redis_service.stop()
    began = time.monotonic()
    answer = await alice.ask("chat.send", message="still here", sessionKey="s", stream=True)
    newcomer = await join(server, token=server.token, user_id="root")
    assert await newcomer.ask("status")
    assert time.monotonic() - began < 12
    assert answer["content"] == "still here"


async def test_a_server_starts_without_its_redis_and_finds_it_later(serve, join, redis_service):
    first = serve(database="postgres")
    key = key_of("alice")
    redis_service.kill()
    second = serve(beside=first)
    phone, laptop = await join(second, token=key), await join(first, token=key)
    assert (await laptop.ask("chat.send", message="hi", sessionKey="s"))["content"] == "hi"
    await phone.event("agent", "run.completed")
    redis_service.restart()
    await phone.event("resync")


async def test_an_idle_socket_on_a_real_redis_stays_open(serve, join):
    """Guards the pin of redis-py: an idle subscriber must outlive its five seconds."""
    server = serve(database="postgres")
    alice = await join(server, token=key_of("alice"))

    def losses() -> int:
        return sum(server.log().count(line) for line in LOSSES)

    for _ in range(5):  # an idle line would end each time, a busy machine loses one now and then
        before = losses()
        with pytest.raises(TimeoutError):
            await alice.closed(within_s=7)
        if losses() == before:
            break
    else:
        pytest.fail(server.log())
    assert await alice.ask("status")
