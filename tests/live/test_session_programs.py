"""The JavaScript session client in Node and in Bun, on a real server and a line that fails.

Source: PROTOCOLS.md 3.7, 3.8, 3.9.
"""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.live.made import a_key, a_session
from tests.live.viewer import Viewer
from tests.live.worker import ALLOW, Worker
from tests.services import FaultProxy
from tests.services.javascript import bun, node
from tests.services.people import key_of

pytestmark = [pytest.mark.live, pytest.mark.own_server, pytest.mark.timeout(240)]

PROGRAM = Path(__file__).with_name("session_program.mjs")
RUNTIMES = {"node": node, "bun": bun}
QUICK = {
    "pingMs": 300,
    "proofTimeoutMs": 1000,
    "openTimeoutMs": 5000,
    "minDelayMs": 20,
    "maxDelayMs": 200,
    "reconnectMs": 20,
    "retryMs": 50,
}
# Where every attempt is counted, none may fail because the machine is slow.
CALM = {"pingMs": 20_000, "proofTimeoutMs": 20_000, "openTimeoutMs": 20_000}
ALICE = key_of("alice")
WITHIN_S = 30.0
RECONNECTS = 50


class Program:
    """The client in its process: what it told, in order."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.told: list[tuple[str, Any]] = []
        self._arrived = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    @asynccontextmanager
    async def run(cls, runtime: str, port: int, session: str, token: str = ALICE, **options: Any):
        url = f"ws://127.0.0.1:{port}"
        given = {"session": session, "token": token, "options": {"url": url, **QUICK, **options}}
        command = [str(RUNTIMES[runtime]()), str(PROGRAM), json.dumps(given)]
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
        program = cls(process)
        try:
            yield program
        finally:
            assert process.stdin is not None
            process.stdin.close()
            async with asyncio.timeout(WITHIN_S):
                await asyncio.gather(process.wait(), program._reader)
        assert process.returncode == 0

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._arrived:
                self.told.append(tuple(json.loads(line)))
                self._arrived.notify_all()

    def do(self, *deed: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(deed).encode() + b"\n")

    def heard(self, name: str) -> list[Any]:
        return [detail for kind, detail in self.told if kind == name]

    @property
    def stored(self) -> list[str]:
        """The uuids of the stored events, in the order in which they were told."""
        kinds = {"user", "assistant", "result", "system"}
        return [frame["uuid"] for frame in self.heard("message") if frame["type"] in kinds]

    async def until(self, condition: Callable[[], Any]) -> Any:
        async with self._arrived, asyncio.timeout(WITHIN_S):
            await self._arrived.wait_for(condition)
        return condition()

    async def hears(self, name: str, count: int = 1) -> list[Any]:
        await self.until(lambda: len(self.heard(name)) >= count)
        return self.heard(name)


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_after_fifty_reconnects_nothing_is_lost_and_nothing_came_twice(serve, runtime):
    server = serve()
    session = a_session(server)
    with FaultProxy("127.0.0.1", server.port) as line:
        async with (
            Worker(server, session, a_key(server)) as worker,
            Program.run(runtime, line.port, session) as program,
        ):
            await program.hears("connected")
            await worker.answer("begin", "a-begin")
            await program.hears("message")
            for number in range(RECONNECTS):
                await worker.answer("before", f"a-{number}")
                if number % 5 == 0:  # it stalls until the client has noticed
                    errors = len(program.heard("error"))
                    line.mode = "blackhole"
                    program.do("say", f"m-{number}", f"u-{number}")
                    await worker.answer("stalled", f"b-{number}")
                    await program.hears("error", errors + 1)
                    line.mode = "pass"
                elif number % 5 == 1:
                    line.half_close()
                    program.do("say", f"m-{number}", f"u-{number}")
                    await worker.answer("half closed", f"b-{number}")
                else:
                    line.mode = "rst"
                    program.do("say", f"m-{number}", f"u-{number}")
                    await worker.answer("cut", f"b-{number}")
                    line.mode = "pass"
                await program.hears("resumed", number + 1)
            await worker.answer("end", "a-end")
            said = [f"u-{number}" for number in range(RECONNECTS)]
            await program.until(lambda: set(program.heard("stored")) >= set(said))
            await program.until(lambda: "a-end" in program.stored)
            async with Viewer(server, session, ALICE, replay="true") as late:
                await late.entered()
                log = late.stored
            await program.until(lambda: len(program.stored) >= len(log))
    assert program.stored == log
    assert len(program.stored) == len(set(program.stored))
    assert [uuid for uuid in log if uuid in said] == said
    resumed = program.heard("resumed")
    assert len(resumed) >= RECONNECTS
    assert all(one["recovered"] for one in resumed)
    assert program.heard("closed") == [{"code": 0, "reason": "stopped by the page"}]


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_a_question_and_a_request_outlive_the_line(serve, runtime):
    server = serve()
    session = a_session(server)
    with FaultProxy("127.0.0.1", server.port) as line:
        async with (
            Worker(server, session, a_key(server)) as worker,
            Viewer(server, session, ALICE) as viewer,
            Program.run(runtime, line.port, session) as program,
        ):
            await worker.ready(viewer)
            await program.hears("connected")
            await viewer.say("do it", uuid="u-1")
            await worker.asked("do it")
            line.mode = "rst"
            await program.hears("error")
            await worker.ask("q-1")
            await viewer.of("control_request")
            program.do("ask", {"subtype": "get_settings"})
            line.mode = "pass"

            def asked() -> list[Any]:
                frames = program.heard("message")
                return [frame for frame in frames if frame["type"] == "control_request"]

            await program.until(asked)
            line.mode = "rst"
            await program.hears("error", 2)
            program.do("answer", "q-1", ALLOW)
            line.mode = "pass"
            answered = await worker.frame(lambda f: f["type"] == "control_response")
            assert answered["response"]["response"] == ALLOW

            def settings(frame: dict[str, Any]) -> bool:
                return frame.get("request", {}).get("subtype") == "get_settings"

            request = (await worker.frame(settings))["request_id"]
            response = {"subtype": "success", "request_id": request, "response": {"theme": "dark"}}
            await worker.send({"type": "control_response", "response": response})
            assert await program.hears("answer") == [{"theme": "dark"}]
            assert len(asked()) == 1
            assert {one["request_id"] for one in worker.frames if settings(one)} == {request}


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_who_is_refused_gives_up_and_a_session_that_is_not_there_is_tried_again(
    serve, runtime
):
    server = serve()
    session = a_session(server)
    async with Program.run(runtime, server.port, session, "nonsense", **CALM) as program:
        (closed,) = await program.hears("closed")
        assert closed["code"] == 4003
        assert program.heard("connected") == []
    async with Program.run(runtime, server.port, session, key_of("bob"), **CALM) as program:
        (closed,) = await program.hears("closed")
        assert closed["code"] == 4001
        assert len(program.heard("error")) == 4  # the fourth one is the end
    async with Program.run(runtime, server.port, session, **CALM) as program:
        await program.hears("connected")
        program.do("reconnect")
        await program.hears("connected", 2)
        assert await program.hears("resumed") == [{"recovered": True, "missed": 0}]
        program.do("ask", {"subtype": "foo"})
        refused = await program.hears("refused")
        assert refused == ["Unsupported control request subtype: foo"]
        program.do("close")
        assert await program.hears("closed") == [{"code": 0, "reason": "stopped by the page"}]
