"""The Python session client and worker on a real server, each on a line that fails.

Source: PROTOCOLS.md 3.7, 3.8, 3.9.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from tests.live.made import a_key, a_session
from tests.live.viewer import Viewer
from tests.live.worker import ALLOW
from tests.services import FaultProxy
from tests.services.gateway import ROOT, clean_environment
from tests.services.people import key_of
from trunkline_client import (
    Connected,
    Lost,
    Refused,
    Resumed,
    SessionClient,
    SessionWorker,
    Timing,
    Turn,
)

pytestmark = [pytest.mark.live, pytest.mark.own_server, pytest.mark.timeout(240)]

ALICE = key_of("alice")
QUICK = Timing(
    open_timeout_s=5,
    ping_every_s=0.3,
    pong_within_s=1,
    close_timeout_s=0.2,
    first_delay_s=0.02,
    longest_delay_s=0.2,
)
HOW: dict[str, Any] = {"timing": QUICK, "max_retries": None, "options": {"proxy": None}}
WITHIN_S = 30.0
RECONNECTS = 50
STORED = {"user", "assistant", "result", "system"}
PACKAGE = ROOT / "clients" / "python"
SNIPPETS = re.findall(r"```python\n(.*?)```", (PACKAGE / "README.md").read_text(), re.DOTALL)


async def echo(turn: Turn) -> str:
    for word in turn.text.split():
        await turn.stream(word)
    await turn.say(turn.text)
    return turn.text


class Watching:
    """A client, and what it told."""

    def __init__(self, client: SessionClient) -> None:
        self.client = client
        self.told: list[Any] = []
        self._arrived = asyncio.Condition()

    async def read(self) -> None:
        async for event in self.client:
            async with self._arrived:
                self.told.append(event)
                self._arrived.notify_all()

    def of(self, kind: type) -> list[Any]:
        return [one for one in self.told if isinstance(one, kind)]

    @property
    def stored(self) -> list[str]:
        return [frame["uuid"] for frame in self.of(dict) if frame["type"] in STORED]

    def results(self) -> list[str]:
        return [frame["result"] for frame in self.of(dict) if frame["type"] == "result"]

    async def until(self, condition: Callable[[], Any]) -> Any:
        async with self._arrived, asyncio.timeout(WITHIN_S):
            await self._arrived.wait_for(condition)
        return condition()


@asynccontextmanager
async def watching(session: str, port: int, **options: Any):
    client = SessionClient(f"ws://127.0.0.1:{port}", session, ALICE, **{**HOW, **options})
    watching = Watching(client)
    async with client:
        reading = asyncio.create_task(watching.read())
        await watching.until(lambda: watching.of(Connected))
        yield watching
    await asyncio.wait_for(reading, WITHIN_S)


@asynccontextmanager
async def working(session: str, port: int, key: str, turn: Any = echo):
    worker = SessionWorker(f"ws://127.0.0.1:{port}", session, key, turn=turn, **HOW)
    task = asyncio.create_task(worker.run())
    try:
        # What it says is stored: it serves the session.
        await asyncio.wait_for(worker.say({"type": "system", "subtype": "init"}), WITHIN_S)
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def failing(line: FaultProxy, number: int, watched: Watching):
    """What happens here happens while the line is not as it should be."""
    lost = len(watched.of(Lost))
    match number % 5:
        case 0:
            line.mode = "blackhole"  # it stalls until the client has noticed
        case 1:
            line.half_close()
        case _:
            line.mode = "rst"
    yield
    if line.mode == "blackhole":
        await watched.until(lambda: len(watched.of(Lost)) > lost)
    line.mode = "pass"
    await watched.until(lambda: len(watched.of(Resumed)) > number)


def workers_session(server: Any) -> str:
    """A session in which nobody else answers while the worker's line is lost."""
    return a_session(server, "s", "alice", "--agent", "worker")


async def the_log(server: Any, session: str) -> list[str]:
    async with Viewer(server, session, ALICE, replay="true") as late:
        await late.entered()
        return late.stored


async def test_after_fifty_reconnects_nothing_is_lost_and_nothing_came_twice(serve):
    server = serve()
    session = workers_session(server)
    said = [f"u-{number}" for number in range(RECONNECTS)]
    with FaultProxy("127.0.0.1", server.port) as line:
        async with (
            working(session, server.port, a_key(server)),
            watching(session, line.port) as viewer,
        ):
            await viewer.client.send_message("begin", event_id="u-begin")
            saying = []
            for number, uuid in enumerate(said):
                async with failing(line, number, viewer):
                    saying.append(
                        asyncio.create_task(viewer.client.send_message(uuid, event_id=uuid))
                    )
            await asyncio.wait_for(asyncio.gather(*saying), WITHIN_S)
            await viewer.client.send_message("the end", event_id="u-end")
            await viewer.until(lambda: "the end" in " ".join(viewer.results()))
            log = await the_log(server, session)
            await viewer.until(lambda: len(viewer.stored) >= len(log))
    assert viewer.stored == log
    assert [uuid for uuid in log if uuid in said] == said
    resumed = viewer.of(Resumed)
    assert len(resumed) >= RECONNECTS
    assert all(one.recovered for one in resumed)


async def test_a_worker_whose_line_is_cut_answers_everything_once(serve):
    server = serve()
    session = workers_session(server)
    with FaultProxy("127.0.0.1", server.port) as line:
        async with (
            working(session, line.port, a_key(server)),
            watching(session, server.port) as viewer,
        ):
            for number in range(20):
                line.mode = "rst" if number % 2 else "pass"
                await viewer.client.send_message(f"m{number}", event_id=f"u-{number}")
                line.mode = "pass"
                await viewer.until(lambda number=number: f"m{number}" in viewer.results())
            answers = [
                frame["message"]["content"][0]["text"]
                for frame in viewer.of(dict)
                if frame["type"] == "assistant"
            ]
            assert answers == viewer.results() == [f"m{number}" for number in range(20)]


@pytest.mark.postgres
async def test_a_worker_whose_gateway_is_killed_goes_on_at_another_and_every_viewer_has_it_all(
    serve,
):
    first = serve(database="postgres", NODE_LEASE_S="5")
    second = serve(beside=first)
    session, key = workers_session(first), a_key(first)
    half, pieces = asyncio.Event(), [f"piece {number}" for number in range(20)]

    async def turn(turn: Turn) -> str:
        for number, piece in enumerate(pieces):
            await turn.stream(piece)
            if number == len(pieces) // 2:
                half.set()
            await turn.say(piece)
        return "all of it"

    with (
        FaultProxy("127.0.0.1", first.port) as workers_line,
        FaultProxy("127.0.0.1", first.port) as viewers_line,
    ):
        async with (
            Viewer(second, session, ALICE, replay="true") as raw,
            working(session, workers_line.port, key, turn),
            watching(session, viewers_line.port, replay=True) as viewer,
        ):
            await raw.frame(lambda f: f.get("subtype") == "init")
            await viewer.client.send_message("go on", event_id="u-1")
            await asyncio.wait_for(half.wait(), WITHIN_S)
            first.kill()
            workers_line.target = viewers_line.target = ("127.0.0.1", second.port)
            await viewer.until(lambda: viewer.results() == ["all of it"])
            await raw.of("result")
            log = await the_log(second, session)
            told = [f["message"]["content"] for f in viewer.of(dict) if f["type"] == "assistant"]
    assert [content[0]["text"] for content in told] == pieces
    kept = [frame["uuid"] for frame in viewer.of(dict) if frame["type"] in STORED - {"system"}]
    assert raw.stored == kept == log
    assert (log[0], len(log)) == ("u-1", len(pieces) + 2)
    assert all(one.recovered for one in viewer.of(Resumed))
    assert viewer.of(Resumed)


@pytest.mark.postgres
async def test_what_a_worker_says_after_its_turn_has_failed_is_kept_and_it_serves_the_next(
    serve,
):
    first = serve(database="postgres", NODE_LEASE_S="5", WORKER_GRACE_S="3")
    second = serve(beside=first)
    session, key = workers_session(first), a_key(first)
    begun, over = asyncio.Event(), asyncio.Event()

    async def turn(turn: Turn) -> str:
        begun.set()
        if turn.text == "wait":
            await over.wait()
        return turn.text

    with FaultProxy("127.0.0.1", first.port) as line:
        async with (
            Viewer(second, session, ALICE, replay="true") as raw,
            working(session, line.port, key, turn),
            watching(session, second.port) as viewer,
        ):
            await raw.frame(lambda f: f.get("subtype") == "init")
            await viewer.client.send_message("wait", event_id="u-1")
            await asyncio.wait_for(begun.wait(), WITHIN_S)
            line.mode = "rst"
            first.kill()
            line.target = ("127.0.0.1", second.port)
            await viewer.until(lambda: viewer.results() == ["the worker has gone"])
            over.set()
            line.mode = "pass"
            await viewer.until(lambda: viewer.results() == ["the worker has gone", "wait"])
            await viewer.client.send_message("next", event_id="u-2")
            await viewer.until(lambda: viewer.results()[-1] == "next")
            log = await the_log(second, session)
    kept = [frame["uuid"] for frame in viewer.of(dict) if frame["type"] in STORED - {"system"}]
    assert kept == log
    assert viewer.results() == ["the worker has gone", "wait", "next"]
    assert not [one for one in viewer.of(dict) if one["type"] == "assistant"], "another agent spoke"


async def test_a_question_waits_through_lost_lines_of_the_worker_and_the_viewer(serve):
    server = serve()
    session = workers_session(server)

    async def careful(turn: Turn) -> str:
        decision = await turn.ask("Bash", {"command": turn.text})
        return str(decision["behavior"])

    with FaultProxy("127.0.0.1", server.port) as line:
        async with (
            working(session, line.port, a_key(server), careful),
            watching(session, line.port) as viewer,
        ):
            await viewer.client.send_message("ls")

            def questions() -> list[str]:
                return [f["request_id"] for f in viewer.of(dict) if f["type"] == "control_request"]

            (question,) = await viewer.until(questions)
            line.mode = "rst"
            await viewer.until(lambda: viewer.of(Lost))
            await viewer.client.answer(question, ALLOW)
            line.mode = "pass"
            await viewer.until(lambda: viewer.results() == ["allow"])
            assert questions() == [question]
            refused = await viewer.client.send_control_request("interrupt")
            assert refused == {}


async def test_what_an_earlier_client_has_said_is_known_and_not_said_again(serve):
    server = serve(database="sqlite")
    session = a_session(server)
    for _ in range(2):  # a program that was started again, and does not know what it has said
        async with watching(session, server.port, replay=True) as viewer:
            async with asyncio.timeout(WITHIN_S):
                await viewer.client.send_message("once", event_id="u-1")
            await viewer.until(viewer.results)  # else what is said next goes into this turn
    async with watching(session, server.port) as viewer, asyncio.timeout(WITHIN_S):
        await viewer.client.send_message("and this", event_id="u-2")
        await viewer.until(lambda: "and this" in viewer.results())
        log = await the_log(server, session)
    assert [uuid for uuid in log if uuid.startswith("u-")] == ["u-1", "u-2"]


async def test_what_is_over_the_rate_is_refused_by_name_and_whoever_waits_hears_it(serve):
    server = serve(RATE_LIMIT_RPM="1", RATE_LIMIT_BURST="2", database="sqlite")
    calm = Timing()  # who comes back because the machine is slow says `initialize` once more
    async with watching(a_session(server), server.port, timing=calm) as viewer:
        await viewer.client.send_message("within")  # `initialize` was the first
        with pytest.raises(Refused, match="rate limit exceeded"):
            await asyncio.wait_for(viewer.client.send_message("over"), WITHIN_S)
        with pytest.raises(Refused, match="rate limit exceeded"):
            await asyncio.wait_for(viewer.client.send_control_request("interrupt"), WITHIN_S)
        assert viewer.client.queued == 0


async def test_what_the_readme_says_watches_and_works(serve, monkeypatch, capsys):
    server = serve()
    session = workers_session(server)
    viewing, serving = {"__name__": "readme"}, {"__name__": "readme"}
    exec(SNIPPETS[-2], viewing)
    exec(SNIPPETS[-1], serving)
    monkeypatch.setenv("TRUNKLINE_KEY", a_key(server))
    worker = serving["worker"](server.url, session)
    running = [asyncio.create_task(worker.run())]
    await asyncio.wait_for(worker.say({"type": "system", "subtype": "init"}), WITHIN_S)
    monkeypatch.setenv("TRUNKLINE_KEY", ALICE)
    running.append(asyncio.create_task(viewing["main"](server.url, session)))
    printed = ""
    async with asyncio.timeout(WITHIN_S):
        while "allow: hello" not in printed:
            await asyncio.sleep(0.01)
            printed += capsys.readouterr().out
    for task in running:
        task.cancel()
    ends = await asyncio.gather(*running, return_exceptions=True)
    assert [type(end) for end in ends] == [asyncio.CancelledError] * 2


async def test_the_example_serves_a_session_and_asks_before_it_runs_something(serve, tmp_path):
    server = serve()
    session, key = a_session(server), a_key(server)
    program = str(PACKAGE / "examples" / "session_worker.py")
    environment = clean_environment({"TRUNKLINE_KEY": key, "PYTHONPATH": str(PACKAGE)})
    with (tmp_path / "log").open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, program, server.url, session, env=environment, stderr=file
        )
        try:
            async with watching(session, server.port) as viewer:
                await viewer.client.send_message("hello")
                # The session's own agent answers until the worker is there.
                await viewer.until(viewer.results)
                while viewer.results()[-1] != "you said: hello":
                    seen = len(viewer.results())
                    await viewer.client.send_message("hello")
                    await viewer.until(lambda seen=seen: len(viewer.results()) > seen)
                await viewer.client.send_message("run ls")

                def question() -> Any:
                    asked = [f for f in viewer.of(dict) if f["type"] == "control_request"]
                    return asked and asked[0]

                asked = await viewer.until(question)
                assert asked["request"]["input"] == {"command": "ls"}
                await viewer.client.answer(asked["request_id"], {"behavior": "deny"})
                await viewer.until(lambda: viewer.results()[-1] == "then not")
        finally:
            process.kill()
            await process.wait()
    assert key not in (tmp_path / "log").read_text()
