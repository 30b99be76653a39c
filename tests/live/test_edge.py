"""A command on its way to a raw agent and back: its states, whatever is killed in between."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from contextlib import asynccontextmanager

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.services import Dispatcher
from tests.services.people import key_of

pytestmark = [pytest.mark.live, pytest.mark.own_server]

ALICE = {"Authorization": f"Bearer {key_of('alice')}"}


@asynccontextmanager
async def agent(server, agent_id="edge_1"):
    url = server.ws_url.replace("/ws", f"/edge/ws?edge_agent_id={agent_id}")
    headers = {"Authorization": f"Bearer {server.environ['EDGE_SECRET']}"}
    async with connect(url, additional_headers=headers, proxy=None) as socket:
        yield socket


async def send(server, count=1, agent_id="edge_1", **fields):
    """The ids of new commands, in order."""
    made = []
    async with httpx.AsyncClient(base_url=server.url, headers=ALICE, timeout=30) as http:
        for number in range(count):
            payload = {"message_text": "hey 💙", "n": number}
            asked = {"agent_id": agent_id, "command_type": "schedule_message", "payload": payload}
            asked |= fields
            answer = await http.post("/api/edge/commands/", json=asked)
            assert answer.status_code == 201, answer.text
            made.append(answer.json()["command_id"])
    return made


async def look(server, *made):
    """How commands stand, each with its events."""
    async with httpx.AsyncClient(base_url=server.url, headers=ALICE, timeout=30) as http:
        answers = [await http.get(f"/api/edge/commands/{one}/") for one in made]
    return [answer.json() for answer in answers]


async def hear(socket, within_s=30.0):
    return json.loads(await asyncio.wait_for(socket.recv(), within_s))


async def said(socket):
    """Everything said so far has been dealt with: the pong comes after it."""
    await socket.send('{"type":"ping"}')
    while (text := await asyncio.wait_for(socket.recv(), 30)) != '{"type":"pong"}':
        assert text


def ack(command_id, **fields):
    return json.dumps({"type": "command_ack", "data": {"command_id": command_id, **fields}})


async def test_a_command_waits_for_its_agent_and_every_step_of_it_is_recorded(serve):
    server = serve()
    early = await send(server, 2)
    async with agent(server) as socket:
        frames = [await hear(socket) for _ in early]
        assert [frame["data"]["command_id"] for frame in frames] == early
        assert frames[0]["data"] == frames[0]["payload"]
        assert frames[0]["data"]["payload"]["message_text"] == "hey 💙"
        (late,) = await send(server)
        assert (await hear(socket))["data"]["command_id"] == late
        await socket.send(ack(early[0], status="completed"))
        await socket.send(ack(early[0], status="completed", completed_at="2025-11-15T18:30:00Z"))
        await socket.send(ack(early[1], status="failed", error="no"))
        await socket.send(ack("msg_none", status="completed"))
        await said(socket)
    states = await look(server, *early, late)
    assert [state["status"] for state in states] == ["completed", "failed", "delivered"]
    steps = ["scheduled", "leased", "delivered", "completed", "executed"]
    assert [event["kind"] for event in states[0]["events"]] == steps
    assert states[0]["attempts"] == 1
    assert states[0]["executed_at"]
    assert "command.ack_ignored" in server.log()


async def test_a_newer_connection_takes_over_and_what_was_not_acknowledged_comes_again(serve):
    server = serve(COMMAND_LEASE_S="20")  # it would come to the older one once more
    async with agent(server) as old:
        (command,) = await send(server)
        assert (await hear(old))["data"]["command_id"] == command
        async with agent(server) as new:
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(old.recv(), 30)
            assert closed.value.rcvd.code == 4009
            assert (await hear(new))["data"]["command_id"] == command
            await new.send(ack(command, status="completed"))
            await said(new)
    (state,) = await look(server, command)
    assert (state["status"], state["attempts"]) == ("completed", 2)


@pytest.mark.postgres
async def test_two_processes_are_one_queue_and_one_may_be_killed(serve):
    first = serve("--no-dispatcher", database="postgres", COMMAND_LEASE_S="5", NODE_LEASE_S="5")
    async with agent(first) as socket:
        held_back = await send(first)
        await said(socket)
        second = serve(beside=first)  # with a dispatcher
        assert (await hear(socket))["data"]["command_id"] == held_back[0]
        await socket.send(ack(held_back[0], status="received"))
        await said(socket)
        (lost,) = await send(second)
        assert (await hear(socket))["data"]["command_id"] == lost
        first.kill()
    async with agent(second) as socket:
        assert (await hear(socket))["data"]["command_id"] == lost
        await socket.send(ack(lost, status="completed"))
        await socket.send(ack(held_back[0], status="completed"))
        await said(socket)
    states = await look(second, held_back[0], lost)
    assert [(state["status"], state["attempts"]) for state in states] == [
        ("completed", 1),
        ("completed", 2),
    ]


@pytest.mark.postgres
async def test_the_dispatcher_runs_alone_and_leaves_in_good_order(serve):
    server = serve("--no-dispatcher", database="postgres")
    alone = serve(program=Dispatcher, beside=server)
    async with agent(server) as socket:
        # What is due at once needs no dispatcher.
        soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=3)
        (command,) = await send(server, deliver_at=soon.isoformat())
        assert (await hear(socket))["data"]["command_id"] == command
    assert await asyncio.to_thread(alone.terminate) == 0
