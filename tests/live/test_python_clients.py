"""The Python `TopicClient` and `GroupClient` on a real server: heard, restarted, come back."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from tests.services import Serve, until
from tests.services.gateway import ROOT, clean_environment
from tests.services.people import key_of
from trunkline_client import (
    Connected,
    Failure,
    GroupClient,
    GroupMessage,
    Lost,
    Message,
    Presence,
    Revoked,
    Timing,
    TopicClient,
)

pytestmark = [pytest.mark.live, pytest.mark.own_server]

WITHIN_S = 30.0
QUICK = Timing(first_delay_s=0.1, longest_delay_s=0.5)
PACKAGE = ROOT / "clients" / "python"
SNIPPETS = re.findall(r"```python\n(.*?)```", (PACKAGE / "README.md").read_text(), re.DOTALL)


def token_of(server: Serve, **claims: Any) -> str:
    given = {"userId": "usr_1", "role": "agent", **claims}
    return jwt.encode(given, server.environ["NEXUS_JWT_SECRET"], algorithm="HS256")


def topics(server: Serve, **claims: Any) -> TopicClient:
    options = {"proxy": None}
    return TopicClient(server.url, token_of(server, **claims), timing=QUICK, options=options)


def member(server: Serve, who: str, client: str) -> GroupClient:
    given = {"api_key": key_of(who), "timing": QUICK, "options": {"proxy": None}}
    return GroupClient(server.url, "ein Raum: ü", client, **given)


async def hear(client: Any, kind: type, wanted: Callable[[Any], bool] = lambda _: True) -> Any:
    """The next event of this kind for which that holds."""
    async with asyncio.timeout(WITHIN_S):
        async for event in client:
            if isinstance(event, kind) and wanted(event):
                return event


async def restart(server: Serve) -> None:
    assert await asyncio.to_thread(server.terminate) == 0
    await asyncio.to_thread(server.start)


async def test_topics_keep_their_filters_over_a_restart_and_send_what_waited(serve):
    server = serve(DRAIN_S="1")
    async with topics(server) as client:
        await client.subscribe("telemetry", {"agent_id": "a"})
        await hear(client, Connected)
        assert client.user_id == "usr_1"
        for agent_id in ("b", "a"):
            await client.publish("telemetry", {"agent_id": agent_id})
        heard = await hear(client, Message)
        assert (heard.sender, heard.data) == ("usr_1", {"agent_id": "a"})
        await client.publish("agent.x", 1)
        assert (await hear(client, Failure)).message
        restarting = asyncio.create_task(restart(server))
        lost = await hear(client, Lost)
        assert (lost.loss.code, lost.loss.reason) == (1012, "server restarting")
        for number, agent_id in enumerate("baab"):
            await client.publish("telemetry", {"agent_id": agent_id, "n": number})
        await hear(client, Connected)
        for number in (1, 2):
            heard = await hear(client, Message)
            assert heard.data == {"agent_id": "a", "n": number}
        assert await client.ping() < WITHIN_S
        await restarting


async def test_the_telemetry_of_a_machine_is_heard_as_the_servers_word(serve):
    server = serve()
    async with topics(server) as client:
        await client.subscribe("telemetry")
        await hear(client, Connected)
        said = server.run("telemetry", "--count", "2", "--every", "0.01", "--json")
        assert said == '{"channel": "telemetry", "published": 2}\n'
        for _ in range(2):
            heard = await hear(client, Message)
            assert heard.sender is None
            assert 0 <= heard.data["cpu"] <= 100


async def test_a_token_that_expires_ends_it_with_its_reason(serve):
    server = serve(database="sqlite")
    async with topics(server, exp=int(time.time()) + 7) as client:
        with pytest.raises(Revoked, match="4003 credentials have expired"):
            await hear(client, Message)


async def test_groups_reach_their_members_and_come_back(serve):
    server = serve(DRAIN_S="1", AETHER_ANNOUNCE_PRESENCE="on")
    async with member(server, "alice", "laptop") as alice:
        await hear(alice, Connected)
        async with member(server, "bob", "b@ob") as bob:
            here = await hear(alice, Presence, lambda m: m.from_id == "b@ob")
            assert here.status == "online"
            await hear(bob, Connected)
            await alice.send_group("to all", {"a": 1})
            for one in (alice, bob):
                heard = await hear(one, GroupMessage, lambda m: m.msg == "to all")
                assert (heard.from_id, heard.payload) == ("laptop", {"a": 1})
            await bob.send_direct("laptop", "psst")
            assert (await hear(alice, GroupMessage)).target == "direct"
            await bob.cmd("look", to="laptop")
            assert (await hear(alice, GroupMessage)).cmd == "look"
            await bob.broadcast("everyone")
            await bob.echo("me")
            await bob.send("nobody")
            assert "message not routed" in (await hear(bob, Failure)).message
            assert (await hear(alice, GroupMessage)).msg == "everyone"
        await hear(alice, Presence, lambda m: (m.from_id, m.status) == ("b@ob", "offline"))
        restarting = asyncio.create_task(restart(server))
        assert (await hear(alice, Lost)).loss.code == 1012
        await alice.send_group("waits")
        await hear(alice, Connected)
        await hear(alice, GroupMessage, lambda m: m.msg == "waits")
        await restarting


async def test_the_programs_of_the_readme_run(serve, capsys, monkeypatch):
    server = serve(database="sqlite")
    monkeypatch.setenv("NEXUS_TOKEN", token_of(server))
    monkeypatch.setenv("TRUNKLINE_KEY", key_of("alice"))
    for number, expected in [
        (3, "telemetry {'agent_id': 'a1', 'cpu': 7}\n"),
        (4, "laptop hello {}\n"),
    ]:
        names: dict[str, Any] = {"__name__": "readme"}
        exec(SNIPPETS[number], names)
        running = asyncio.create_task(names["main"](server.url))
        said = ""
        async with asyncio.timeout(WITHIN_S):
            while expected not in said:
                await asyncio.sleep(0.01)
                said += capsys.readouterr().out
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


@pytest.mark.parametrize(
    ("example", "arguments", "line", "expected"),
    [
        ("topics", ["news"], '{"a": 1}', 'news usr_1: {"a": 1}'),
        ("groups", ["team", "laptop"], "hello", "laptop (group): hello"),
    ],
)
def test_the_example_programs_run(serve, tmp_path, example, arguments, line, expected):
    server = serve(database="sqlite")
    shown = {"NEXUS_TOKEN": token_of(server), "TRUNKLINE_KEY": key_of("alice")}
    output = tmp_path / "output"
    with (
        output.open("wb") as file,
        subprocess.Popen(
            [sys.executable, str(PACKAGE / "examples" / f"{example}.py"), server.url, *arguments],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=clean_environment({**shown, "PYTHONPATH": str(PACKAGE)}),
        ) as program,
    ):
        try:
            assert program.stdin is not None
            program.stdin.write(f"{line}\n".encode())
            program.stdin.flush()
            until(lambda: expected in output.read_text(), WITHIN_S, expected)
        finally:
            program.kill()
    assert not [secret for secret in shown.values() if secret in output.read_text()]
