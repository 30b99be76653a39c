"""Two processes on one PostgreSQL and one Redis are one gateway."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from tests.live.client import Client
from tests.live.line import SOON_S
from tests.services.people import key_of

pytestmark = [pytest.mark.live, pytest.mark.postgres]


@pytest.fixture
def pair(serve):
    first = serve(database="postgres")
    return first, serve(beside=first)


def bearer(server):
    return {"Authorization": f"Bearer {server.token}"}


async def test_a_run_started_on_one_streams_to_the_other(pair, join):
    here, there = pair
    key = key_of("alice")
    laptop, phone = await join(here, token=key), await join(there, token=key)
    whole = number = 0
    while whole < 15:
        number += 1
        assert number <= 100, "where Redis is there, they come"
        text = f"one two three {number}"
        answer = await laptop.ask("chat.send", message=text, sessionKey="s", stream=True)
        await phone.run_event(answer["runId"], "run.completed")
        expected = ["run.started", *["chunk"] * 4, "run.completed"]
        assert laptop.run_events(answer["runId"]) == expected
        heard = phone.run_events(answer["runId"])
        # Chunks are at most once; order and both ends are certain.
        assert (heard[0], heard[-1]) == ("run.started", "run.completed")
        assert set(heard[1:-1]) <= {"chunk"} and len(heard) <= len(expected)
        whole += heard == expected


async def test_a_run_is_steered_and_aborted_from_the_other_process(pair, join):
    here, there = pair
    key = key_of("alice")
    laptop, phone = await join(here, token=key), await join(there, token=key)
    pending = await laptop.send("chat.send", message="slow 60", sessionKey="s", stream=True)
    await phone.event("agent", "run.started")
    assert (await phone.ask("chat.session.status", sessionKey="s"))["isRunning"]
    assert await phone.ask("chat.send", message="heed this", sessionKey="s") == {"injected": True}
    await laptop.frame(lambda f: "heed this" in json.dumps(f) and f.get("event") == "agent")
    assert (await phone.ask("chat.abort", sessionKey="s"))["aborted"]
    assert (await laptop.answer(pending))["payload"] == {"cancelled": True}
    await phone.event("agent", "run.cancelled")


async def test_a_message_id_repeated_on_the_other_process_gets_the_same_answer(pair, join):
    here, there = pair
    key = key_of("alice")
    laptop, phone = await join(here, token=key), await join(there, token=key)
    said = {"message": "slow 3", "sessionKey": "s", "messageId": "m"}
    first = await laptop.send("chat.send", **said)
    await phone.event("agent", "run.started")
    second = await phone.send("chat.send", **said)
    answers = [await laptop.answer(first), await phone.answer(second)]
    assert answers[0]["payload"] == answers[1]["payload"]
    assert phone.frames[-1]["type"] == "res"


async def test_a_revocation_on_one_closes_on_the_other_within_two_seconds(pair, join):
    here, there = pair
    admin = await join(here, token=key_of("root"))
    bystander = await join(there, token=key_of("bob"))
    browser = await join(there)
    pending = await browser.ask("connect", user_id="alice")
    await admin.ask("device.pair.approve", code=pending["pairing_code"])
    device = await join(there, sender_id=pending["sender_id"], user_id="alice")
    await admin.ask("device.pair.revoke", senderId=pending["sender_id"], channel="browser")
    assert await device.closed(within_s=SOON_S) == (4003, "access was revoked")
    again = await join(there)
    refusal = await again.ask("connect", sender_id=pending["sender_id"], user_id="alice")
    assert refusal["status"] == "pending_pairing"
    assert await bystander.ask("status")


async def test_a_killed_processs_members_vanish_and_its_runs_end(serve, join):
    first = serve(database="postgres", NODE_LEASE_S="5")
    second = serve(beside=first)
    key = key_of("alice")
    phone = await join(second, token=key)
    async with Client(first.ws_url) as laptop:
        await laptop.ask("connect", token=key)
        await laptop.send("chat.send", message="slow 60", sessionKey="s")
        await phone.event("agent", "run.started")
        assert await connections(second) == 2
        first.kill()
        assert (await phone.event("agent", "run.failed"))["payload"]["error"]
        assert await until_connections(second, 1)
    assert not (await phone.ask("chat.session.status", sessionKey="s"))["isRunning"]


async def test_a_process_that_was_frozen_is_present_again_when_it_wakes(serve, join):
    first = serve(database="postgres", NODE_LEASE_S="2")
    second = serve(beside=first)
    alice = await join(first, token=key_of("alice"))
    await join(second, token=key_of("bob"))
    first.stop()
    assert await until_connections(second, 1)
    first.cont()
    assert await until_connections(second, 2)
    assert await alice.ask("status")


async def connections(server):
    async with httpx.AsyncClient(timeout=30) as http:
        answer = await http.get(f"{server.url}/api/connections/", headers=bearer(server))
    assert answer.status_code == 200, answer.text
    return len(answer.json()["results"])


async def until_connections(server, count):
    async with asyncio.timeout(30):
        while await connections(server) != count:
            await asyncio.sleep(0.1)
    return True
