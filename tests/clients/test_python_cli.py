"""The Python agent as a process: killed at the worst moments, stopped, started wrongly."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.clients.far_end import PATIENCE_S, EdgeServer, command, until

PACKAGE = Path(__file__).resolve().parents[2] / "clients" / "python"

# An agent that notes what it did, and kills itself where it is told to, the first time.
KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from trunkline_client import EdgeAgent

url, where, journal = sys.argv[1:]

def die(moment):
    if moment == where:
        os.kill(os.getpid(), signal.SIGKILL)

agent = EdgeAgent(url, "edge_1", "secret", "ledger.sqlite3", observer=lambda what, _: die(what))

@agent.on("note")
def note(command):
    with open(journal, "a") as file:
        file.write(command.id + "\\n")
    die("acting")

@agent.on("again", repeatable=True)
def again(command):
    note(command)

asyncio.run(agent.run())
"""


@asynccontextmanager
async def process(folder: Path, *arguments: str, **environment: str):
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PACKAGE), "NO_PROXY": "127.0.0.1", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


def edge(*arguments: str) -> list[str]:
    return ["-m", "trunkline_client", "edge", "--agent-id", "edge_1", *arguments]


@pytest.mark.parametrize(
    ("where", "kind", "times", "said"),
    [
        ("received", "note", 1, ["completed"]),  # it was recorded, and had not acted
        ("acting", "note", 1, ["failed"]),  # it acted, and could not say so
        ("acting", "again", 2, ["completed"]),  # its handler was said to bear that
        ("acked", "note", 1, ["completed"]),  # it said so, and was not told that it was read
    ],
)
async def test_killed_at_any_moment_it_acts_once_and_says_what_became_of_it(
    tmp_path, where, kind, times, said
):
    async with EdgeServer() as server:
        server.pongs = False
        start = ["-c", KILLED, server.url]
        async with process(tmp_path, *start, where, "journal") as first:
            visit = await server.visit()
            await visit.say(command("c1", kind))
            assert await asyncio.wait_for(first.wait(), PATIENCE_S) == -signal.SIGKILL
        server.pongs = True
        async with process(tmp_path, *start, "nowhere", "journal"):
            again = await server.visit(1)
            await again.acked(1)
            await again.say(command("c1", kind), command("c2"))
            await until(lambda: [ack for ack in again.acks if ack["command_id"] == "c2"])
        assert (tmp_path / "journal").read_text().split() == ["c1"] * times + ["c2"]
        for ack in again.acks:
            assert ack["command_id"] == "c2" or [ack["status"]] == said
        if where == "acked":
            assert again.acks[0] == visit.acks[0], "word for word"
        if said == ["failed"]:
            assert again.acks[0]["error"].startswith("Interrupted: ")


async def test_the_command_prints_what_happens_and_leaves_in_order_when_told(tmp_path):
    (tmp_path / "secret").write_text("from-a-file\n")
    async with EdgeServer() as server:
        arguments = edge("--url", server.url, "--secret-file", "secret")
        async with process(tmp_path, *arguments) as agent:
            visit = await server.visit()
            assert visit.headers["Authorization"] == "Bearer from-a-file"
            await visit.say(command("c1", "anything", text="💙"))
            await visit.acked(1)
            agent.send_signal(signal.SIGTERM)
            output, log = await asyncio.wait_for(agent.communicate(), PATIENCE_S)
        assert agent.returncode == 0, log
        lines = [json.loads(line) for line in output.decode().splitlines()]
        assert [line["what"] for line in lines] == [
            *("connected", "received", "acted", "acked", "lost")
        ]
        assert lines[1]["payload"] == {"text": "💙"}
        assert visit.frames[-2]["type"] == "status" or visit.frames[-1]["type"] == "status"
        assert visit.socket.close_code == 1000
        assert b"from-a-file" not in output + log
        assert (tmp_path / "edge_1.sqlite3").exists()


STUCK = """
import asyncio, signal, sys, time
from trunkline_client import EdgeAgent

async def main():
    agent = EdgeAgent(sys.argv[1], "edge_1", "secret", "ledger.sqlite3", grace_s=0.1)

    @agent.on("note")
    def note(command):
        print("begun", flush=True)
        time.sleep(60)

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, agent.stop)
    await agent.run()

asyncio.run(main())
"""


async def test_a_handler_that_hangs_does_not_hold_up_the_end_of_the_program(tmp_path):
    async with EdgeServer() as server, process(tmp_path, "-c", STUCK, server.url) as agent:
        visit = await server.visit()
        await visit.say(command("c1"))
        assert (
            agent.stdout
            and await asyncio.wait_for(agent.stdout.readline(), PATIENCE_S) == b"begun\n"
        )
        agent.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(agent.wait(), PATIENCE_S) == 0
        assert visit.socket.close_code == 1000


async def test_the_one_that_was_replaced_ends_and_says_why(tmp_path):
    async with EdgeServer() as server:
        server.close_with = [4009]
        arguments = edge("--url", server.url, "--ledger", "own")
        async with process(tmp_path, *arguments, EDGE_SECRET="s") as agent:
            _, log = await asyncio.wait_for(agent.communicate(), PATIENCE_S)
        assert agent.returncode == 3
        assert log.decode().splitlines()[-1].startswith("edge_1: 4009 as scripted")


@pytest.mark.parametrize(
    ("arguments", "secret", "complaint"),
    [
        ([], "", "no secret: give --secret-file, or set EDGE_SECRET"),
        (["--url", "localhost"], "s", "url: expected ws://host… or wss://host…"),
        (["--ledger", "."], "s", "[Errno 21] Is a directory: '.'"),
        (["--ledger", "notes"], "s", "notes: file is not a database"),
    ],
)
async def test_what_is_wrong_is_said_in_one_line(tmp_path, arguments, secret, complaint):
    (tmp_path / "notes").write_text(
        "no database, and long enough to be taken for the head of one\n" * 9
    )
    async with process(tmp_path, *edge(*arguments), EDGE_SECRET=secret) as agent:
        _, log = await asyncio.wait_for(agent.communicate(), PATIENCE_S)
    assert agent.returncode == 2
    assert log.decode() == f"trunkline_client: {complaint}\n"


async def test_a_secret_that_is_not_there_is_named_and_asked_for_again(tmp_path):
    async with EdgeServer() as server:
        arguments = edge("--url", server.url, "--secret-file", "secret")
        async with process(tmp_path, *arguments) as agent:
            assert agent.stderr
            said = await asyncio.wait_for(agent.stderr.readline(), PATIENCE_S)
            told = "ERROR edge_1: there is no secret: [Errno 2] No such file or directory: 'secret'"
            assert said.decode().strip().endswith(told)
            (tmp_path / "secret").write_text("late")
            visit = await server.visit()
            assert visit.headers["Authorization"] == "Bearer late"


@pytest.mark.parametrize("arguments", [[], ["ws://127.0.0.1:1"], ["ws://127.0.0.1:1", "edge_1"]])
async def test_the_example_says_how_it_is_used(tmp_path, arguments):
    example = str(PACKAGE / "examples" / "edge_agent.py")
    async with process(tmp_path, example, *arguments, EDGE_SECRET="") as agent:
        _, log = await asyncio.wait_for(agent.communicate(), PATIENCE_S)
    assert agent.returncode == 1
    assert b"EDGE_SECRET=\xe2\x80\xa6 python examples/edge_agent.py ws://" in log


async def test_the_example_sends_at_the_time_and_says_so_twice(tmp_path):
    async with EdgeServer() as server:
        example = str(PACKAGE / "examples" / "edge_agent.py")
        async with process(tmp_path, example, server.url, "edge_1", EDGE_SECRET="s") as agent:
            visit = await server.visit()
            said = {"thread_id": "iMessage;-;+1", "message_text": "hey! 💙"}
            send_at = "2025-11-15T18:30:00Z"
            await visit.say(command("c1", "schedule_message", send_at=send_at, **said))
            first, second = await visit.acked(2)
            assert first == {"command_id": "c1", "status": "completed"}
            assert second["status"] == "completed" and second["completed_at"]
            await visit.say(command("c2", "send_message_now", text="no thread"))
            assert (await visit.acked(3))[2]["error"].startswith("Missing required fields")
            agent.send_signal(signal.SIGINT)
            output, log = await asyncio.wait_for(agent.communicate(), PATIENCE_S)
        assert agent.returncode == 0, log
        assert output.decode() == "to iMessage;-;+1: hey! 💙\n"
