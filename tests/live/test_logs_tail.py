"""`logs.tail` over real sockets: the own account's lines, while one asks for them."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.services.people import key_of

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def server(serve_for_module):
    return serve_for_module(database="sqlite")


def lines(client, event=""):
    told = [frame["payload"] for frame in client.frames if frame.get("event") == "log"]
    return [line for line in told if not event or line["event"] == event]


async def line(client, event, **fields):
    """The first line of that event with these fields, come or coming."""
    frame = await client.frame(
        lambda f: (
            f.get("event") == "log"
            and f["payload"]["event"] == event
            and fields.items() <= f["payload"].items()
        )
    )
    return frame["payload"]


async def test_each_administrator_follows_the_own_account(server, join):
    root = await join(server, token=key_of("root"))
    carol = await join(server, token=key_of("carol"))
    bob = await join(server, token=key_of("bob"))
    refusal = await bob.refused("logs.tail", action="start")
    assert refusal["message"] == "permission denied: logs.tail requires admin role"
    for client in (root, carol):
        assert await client.ask("logs.tail", action="start") == {"ok": True}
    await join(server, token=key_of("alice"))
    told = await line(root, "connected", user="alice")
    assert (told["level"], told["account"], told["protocol"]) == ("info", "default", "goclaw")
    assert told["time"].endswith("Z")
    again = await join(server, token=key_of("carol"))
    await line(carol, "connected", user="carol")
    # A line that names no account is for the master scope alone.
    async with httpx.AsyncClient(timeout=30) as http:
        await http.get(f"{server.url}/no-such-page?token=s3cret")
    missing = await line(root, "Not Found: /no-such-page")
    assert missing["level"] == "warning"
    await again.ask("health")
    await carol.ask("health")
    assert {one.get("account") for one in lines(carol)} == {"other"}
    assert {one.get("account") for one in lines(root)} <= {"default", None}
    assert "s3cret" not in str(root.frames)
    assert not lines(bob)


async def test_a_level_a_stop_and_a_new_identity_end_what_is_told(server, join):
    root = await join(server, token=key_of("root"))
    witness = await join(server, token=key_of("root"))
    await witness.ask("logs.tail", action="start")
    await root.ask("logs.tail", action="start", level="warning")
    await join(server, token=key_of("alice"))
    await line(witness, "connected", user="alice")
    assert not lines(root, "connected")
    await root.ask("logs.tail", action="start")
    await join(server, token=key_of("bob"))
    await line(root, "connected", user="bob")
    await root.ask("logs.tail", action="stop")
    await root.ask("connect", token=key_of("root"))
    await witness.frame(lambda _: len(lines(witness, "connected")) == 3)
    assert len(lines(root, "connected")) == 1
    await root.ask("logs.tail", action="start")
    await root.ask("connect", token=key_of("alice"))
    before = len(lines(root))
    await join(server, token=key_of("bob"))
    await witness.frame(lambda _: len(lines(witness, "connected")) == 5)
    await root.ask("status")
    assert len(lines(root)) == before, "an operator sees no log"


@pytest.mark.postgres
async def test_the_lines_of_the_other_processes_come_too(serve, join):
    here = serve(database="postgres")
    there = serve(beside=here)
    root, carol = await join(here, token=key_of("root")), await join(here, token=key_of("carol"))
    for client in (root, carol):
        await client.ask("logs.tail", action="start")
    async with asyncio.timeout(30):  # the wish is on its way
        while not lines(root, "run.ended"):
            alice = await join(there, token=key_of("alice"))
            await alice.ask("chat.send", message="hi", sessionKey="s")
    told = await line(root, "run.ended")
    assert (told["account"], told["status"]) == ("default", "completed")
    assert {one.get("account") for one in lines(carol)} <= {"other"}
