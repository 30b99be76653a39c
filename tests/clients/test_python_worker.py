"""The Python worker of a session: turns, questions, what viewers ask. Source: PROTOCOLS.md 3.4."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.clients.far_end import PATIENCE_S, response, until
from trunkline_client import Replaced, SessionWorker, Timing, Turn, Unsupported

QUICK = Timing(ping_every_s=0.05, pong_within_s=30.0, first_delay_s=0.01, jitter=0)
ALLOW = {"behavior": "allow", "updatedInput": {}}


class Bench:
    """A worker with a handler that does as the words of the message say."""

    def __init__(self, server: Any, **options: Any) -> None:
        self.acted: list[str] = []
        self.gate, self.begun = asyncio.Event(), asyncio.Event()
        given = {"token": "key", "timing": QUICK, "options": {"proxy": None}, **options}
        self.worker = SessionWorker(
            server.url, "session_1", turn=self.turn, control=self.control, **given
        )

    async def turn(self, turn: Turn) -> Any:
        self.acted.append(turn.text)
        match turn.text:
            case "stream":
                await turn.stream("hel")
                await turn.stream("lo")
                await turn.say("hello")
                return "hello"
            case "ask":
                decision = await turn.ask("Bash", {"command": "ls"})
                return str(decision["behavior"])
            case "fail":
                raise ValueError("a secret")
            case "number":
                return object()  # no text, nor anything that could be written
            case "wait":
                self.begun.set()
                await self.gate.wait()
                return " ".join(other.text for other in turn.more())
        return None

    async def control(self, request: dict) -> dict:
        if request["subtype"] == "break":
            raise ValueError("a secret")
        if request["subtype"] == "get_object":
            return {"theme": object()}
        if request["subtype"] != "get_settings":
            raise Unsupported
        return {"theme": "dark"}

    @asynccontextmanager
    async def at_work(self):
        task = asyncio.create_task(self.worker.run())
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, Replaced):
                await asyncio.wait_for(task, PATIENCE_S)


def user(text: Any, uuid: str) -> dict:
    return {"type": "user", "uuid": uuid, "message": {"role": "user", "content": text}}


def request(request_id: str, subtype: str) -> dict:
    return {"type": "control_request", "request_id": request_id, "request": {"subtype": subtype}}


async def said(visit: Any, kind: str, count: int = 1) -> list[dict]:
    def found() -> list[dict]:
        return [frame for frame in visit.frames if frame["type"] == kind]

    await until(lambda: len(found()) >= count, f"{count} {kind}")
    return found()


async def test_a_turn_streams_says_and_ends_with_its_result(session_server):
    bench = Bench(session_server)
    async with bench.at_work():
        visit = await session_server.visit()
        assert visit.path == "/v1/sessions/ws/session_1/worker"
        assert visit.headers["Authorization"] == "Bearer key"
        await until(lambda: bench.worker.is_connected())  # a piece of an answer does not wait
        await visit.say(user([{"type": "text", "text": "stream"}], "u1"))
        (result,) = await said(visit, "result")
        kinds = [frame["type"] for frame in visit.frames if frame["type"] != "keep_alive"]
        assert kinds == ["stream_event", "stream_event", "assistant", "result"]
        (answer,) = await said(visit, "assistant")
        assert answer["message"]["content"] == [{"type": "text", "text": "hello"}]
        assert answer["uuid"]
        assert (result["subtype"], result["is_error"], result["result"]) == (
            "success",
            False,
            "hello",
        )


async def test_turns_come_one_after_another_and_a_message_is_heard_once(session_server):
    bench = Bench(session_server)
    async with bench.at_work():
        visit = await session_server.visit()
        await visit.say(user("wait", "u1"), user("wait", "u1"), user("more", "u2"))
        await asyncio.wait_for(bench.begun.wait(), PATIENCE_S)
        bench.gate.set()
        (result,) = await said(visit, "result")
        assert (result["result"], result["after_id"]) == ("more", "u2")
        await visit.say(user("next", "u3"))
        await said(visit, "result", 2)
        assert bench.acted == ["wait", "next"]


async def test_a_handler_that_fails_fails_its_turn_and_no_other(session_server):
    async with Bench(session_server).at_work():
        visit = await session_server.visit()
        await visit.say(user("fail", "u1"), user("ok", "u2"))
        failed, good = await said(visit, "result", 2)
        assert (failed["subtype"], failed["is_error"], failed["result"]) == (
            "error_during_execution",
            True,
            "ValueError",
        )
        assert good["subtype"] == "success"
        assert not any("a secret" in text for text in visit.texts)


async def test_a_handler_without_a_text_fails_its_turn_and_the_worker_goes_on(session_server):
    async with Bench(session_server).at_work():
        visit = await session_server.visit()
        await visit.say(user("number", "u1"), user("ok", "u2"))
        failed, good = await said(visit, "result", 2)
        assert (failed["is_error"], failed["result"]) == (True, "TypeError")
        assert good["subtype"] == "success"
        await visit.say(request("c1", "get_object"))
        (answer,) = await said(visit, "control_response")
        assert answer["response"]["error"] == "TypeError"


async def test_a_question_is_asked_again_with_its_id_until_it_is_answered(session_server):
    async with Bench(session_server).at_work():
        visit = await session_server.visit()
        await visit.say(user("ask", "u1"))
        (question,) = await said(visit, "control_request")
        assert question["request"]["subtype"] == "can_use_tool"
        assert question["request"]["tool_name"] == "Bash"
        assert question["request"]["input"] == {"command": "ls"}
        await session_server.drop()
        again = await session_server.visit(1)
        assert parse_qs(urlsplit(again.path).query) == {"after_id": ["u1"]}
        assert await said(again, "control_request") == [question]
        await again.say(response(question["request_id"], ALLOW))
        (result,) = await said(again, "result")
        assert result["result"] == "allow"


async def test_an_interrupt_cancels_the_turn_and_withdraws_its_question(session_server):
    async with Bench(session_server).at_work():
        visit = await session_server.visit()
        await visit.say(user("ask", "u1"))
        (question,) = await said(visit, "control_request")
        await visit.say(request("c1", "interrupt"))
        (withdrawn,) = await said(visit, "control_cancel_request")
        assert withdrawn["request_id"] == question["request_id"]
        (result,) = await said(visit, "result")
        assert (result["is_error"], result["result"]) == (True, "interrupted")
        (answer,) = await said(visit, "control_response")
        assert answer["response"]["subtype"] == "success"


async def test_what_viewers_ask_is_answered_once_for_each_id(session_server):
    async with Bench(session_server).at_work():
        visit = await session_server.visit()
        for number, subtype in enumerate(["get_settings", "foo", "break"], 1):
            await visit.say(request(f"c{number}", subtype))
            await said(visit, "control_response", number)
        await visit.say(request("c1", "get_settings"))
        answers = [frame["response"] for frame in await said(visit, "control_response", 4)]
        assert answers[0] == {
            "subtype": "success",
            "response": {"theme": "dark"},
            "request_id": "c1",
        }
        assert answers[1]["error"] == "Unsupported control request subtype: foo"
        assert answers[2]["error"] == "ValueError"
        assert answers[3] == answers[0]


async def test_what_is_said_is_said_again_until_the_server_has_read_it(session_server):
    bench = Bench(session_server)
    async with bench.at_work():
        visit = await session_server.visit()
        await until(lambda: bench.worker.is_connected())
        session_server.pongs = False
        await visit.say(user("stream", "u1"))
        (first,) = await said(visit, "assistant")
        assert not [frame for frame in visit.frames if frame["type"] == "result"]
        await session_server.drop()
        session_server.pongs = True
        again = await session_server.visit(1)
        assert await said(again, "assistant") == [first]
        await said(again, "result")


async def test_a_refusal_fails_the_turn_and_the_worker_goes_on(session_server):
    bench = Bench(session_server)

    async def refuse(visit: Any, frame: dict) -> None:
        if frame["type"] == "assistant":
            refused = response(frame["uuid"], {})
            refused["response"] |= {"subtype": "error", "error": "no"}
            await visit.say(refused)
        await heard(visit, frame)

    heard, session_server.heard = session_server.heard, refuse
    async with bench.at_work():
        visit = await session_server.visit()
        await visit.say(user("stream", "u1"), user("ok", "u2"))
        refused, good = await said(visit, "result", 2)
        assert (refused["result"], good["subtype"]) == ("Refused", "success")


async def test_a_result_that_is_refused_ends_its_turn_all_the_same(session_server):
    async def refuse(visit: Any, frame: dict) -> None:
        if frame["type"] == "result" and not frame["is_error"]:
            refused = response(frame["uuid"], {})
            refused["response"] |= {"subtype": "error", "error": "no"}
            await visit.say(refused)
        await heard(visit, frame)

    heard, session_server.heard = session_server.heard, refuse
    async with Bench(session_server).at_work():
        visit = await session_server.visit()
        await visit.say(user("ok", "u1"))
        _, failed = await said(visit, "result", 2)
        assert (failed["is_error"], failed["result"]) == (True, "the result was refused: no")
        assert failed["after_id"] == "u1"


async def test_a_newer_worker_ends_it(session_server):
    async with Bench(session_server).at_work() as task:
        visit = await session_server.visit()
        await visit.socket.close(4009, "replaced by a newer connection")
        with pytest.raises(Replaced):
            await asyncio.wait_for(task, PATIENCE_S)
    assert session_server.attempts == 1
