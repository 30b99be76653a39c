"""A session that a worker serves, over real sockets. Source: PROTOCOLS.md 3, 6."""

from __future__ import annotations

import pytest

from tests.live.made import a_key, a_session
from tests.live.viewer import Viewer
from tests.live.worker import ALLOW, Worker, response
from tests.services.people import key_of

pytestmark = [pytest.mark.live, pytest.mark.own_server]

ALICE, ROOT, BOB = key_of("alice"), key_of("root"), key_of("bob")


async def test_001_and_002_both_see_what_a_worker_says(serve, join):
    server = serve()
    session = a_session(server)
    browser = await join(server, token=ALICE)
    async with (
        Worker(server, session, a_key(server)) as worker,
        Viewer(server, session, ALICE) as viewer,
    ):
        await worker.ready(viewer)
        pending = await browser.send("chat.send", message="hi", sessionKey="s", stream=True)
        assert (await worker.asked("hi"))["session_id"] == session
        await worker.stream("hel")
        await worker.stream("lo")
        await worker.answer("hello", "a-1")
        await worker.end("hello", "r-1")
        answer = (await browser.answer(pending))["payload"]
        assert answer["content"] == "hello"
        assert answer["usage"]["total_tokens"] == 7
        await browser.run_event(answer["runId"], "run.completed")
        assert browser.run_events(answer["runId"]) == [
            "run.started",
            "chunk",
            "chunk",
            "run.completed",
        ]
        await viewer.of("result")
        assert [f["type"] for f in viewer.events if f["type"] != "system"] == [
            "user",
            "stream_event",
            "stream_event",
            "assistant",
            "result",
        ]
        assert viewer.stored[1:] == ["a-1", "r-1"]
        history = await browser.ask("chat.history", sessionKey="s")
        assert [m["content"] for m in history["messages"]] == ["hi", "hello"]


async def test_a_question_is_answered_once_and_the_others_hear_that_it_is(serve):
    server = serve()
    session = a_session(server)
    async with (
        Worker(server, session, a_key(server)) as worker,
        Viewer(server, session, ALICE) as here,
        Viewer(server, session, ROOT) as there,
    ):
        await worker.ready(here, there)
        await here.say("do it", uuid="u-1")
        await worker.asked("do it")
        await worker.ask("q-1")
        for viewer in (here, there):
            asked = await viewer.frame(lambda f: f["type"] == "control_request")
            assert asked["request"]["tool_name"] == "Bash"
            status = await viewer.of("session_status")
            assert status[-1]["status"] == "requires_action"
        async with Viewer(server, session, ALICE) as late:
            await late.control("late", subtype="initialize")
            initialized = await late.answer_to("late")
            (waiting,) = initialized["response"]["pending_permission_requests"]
            assert waiting["request_id"] == "q-1"
        await there.send(response("q-1", ALLOW))
        await here.frame(lambda f: f["type"] == "control_cancel_request")
        await here.send(response("q-1", {"behavior": "deny", "message": "no"}))
        await here.initialized()  # what it said before has been dealt with
        answered = await worker.frame(lambda f: f["type"] == "control_response")
        assert answered["response"]["response"] == ALLOW
        await worker.end("done", "r-1")
        await there.of("result")
        assert not [f for f in there.frames if f["type"] == "control_cancel_request"]
        await worker.entered()
        assert len(await worker.of("control_response")) == 1


async def test_what_a_viewer_asks_goes_to_the_worker_and_its_answer_to_who_asked(serve, join):
    server = serve()
    session = a_session(server)
    async with Viewer(server, session, ALICE) as viewer, Viewer(server, session, ROOT) as other:
        await other.entered()
        await viewer.control("c-1", subtype="get_settings")
        refused = await viewer.answer_to("c-1")
        assert refused["error"] == "Unsupported control request subtype: get_settings"
        async with Worker(server, session, a_key(server)) as worker:
            await worker.ready(viewer)
            await viewer.control("c-2", subtype="get_settings")
            asked = await worker.frame(lambda f: f.get("request_id", "").startswith("c-2"))
            await worker.send(response(asked["request_id"], {"theme": "dark"}))
            answer = await viewer.answer_to(asked["request_id"])
            assert answer["response"] == {"theme": "dark"}
            await viewer.control("c-3", subtype="set_model", model="big")
            assert (await viewer.answer_to("c-3"))["response"] == {}
            await worker.frame(lambda f: f.get("request", {}).get("model") == "big")
            await viewer.control("c-4", subtype="get_settings")
            await worker.frame(lambda f: f.get("request_id") == "c-4")
        gone = await viewer.answer_to("c-4")
        assert gone["error"] == "the worker has gone"
        assert not [f for f in other.frames if f["type"] == "control_response"]


async def test_an_interrupt_reaches_the_worker_from_001_and_from_002(serve, join):
    server = serve()
    session = a_session(server)
    browser = await join(server, token=ALICE)
    async with (
        Worker(server, session, a_key(server)) as worker,
        Viewer(server, session, ALICE) as viewer,
    ):
        await worker.ready(viewer)
        for number, stop in enumerate(("001", "002")):
            pending = await browser.send("chat.send", message=f"m{number}", sessionKey="s")
            await worker.asked(f"m{number}")
            if stop == "001":
                await browser.ask("chat.abort", sessionKey="s")
            else:
                await viewer.control("c-1", subtype="interrupt")
                assert (await viewer.answer_to("c-1"))["subtype"] == "success"
            interrupts = await worker.all_of(
                lambda f: f.get("request", {}).get("subtype") == "interrupt", number + 1
            )
            assert len(interrupts) == number + 1
            await worker.end("", f"r-{number}", subtype="error_during_execution", is_error=True)
            assert (await browser.answer(pending))["payload"] == {"cancelled": True}


async def test_a_newer_worker_replaces_the_older_and_goes_on_where_it_stood(serve, join):
    server = serve()
    session = a_session(server)
    key = a_key(server)
    browser = await join(server, token=ALICE)
    async with Worker(server, session, key) as old, Viewer(server, session, ALICE) as viewer:
        await old.ready(viewer)
        pending = await browser.send("chat.send", message="hi", sessionKey="s")
        await old.asked("hi")
        async with Worker(server, session, key) as new:
            assert (await old.closed())[0] == 4009
            await new.asked("hi")
            await new.answer("from the new one", "a-1")
            await new.end("from the new one", "r-1")
            assert (await browser.answer(pending))["payload"]["content"] == "from the new one"


async def test_with_agent_worker_a_message_waits_for_its_worker(serve, join):
    server = serve()
    session = a_session(server, "s", "alice", "--agent", "worker")
    browser = await join(server, token=ALICE)
    assert await browser.ask("chat.send", message="one", sessionKey="s") == {"injected": True}
    async with Viewer(server, session, ALICE, replay="true") as viewer:
        await viewer.say("two", uuid="u-2")
        await viewer.of("user", 2)
        async with Worker(server, session, a_key(server)) as worker:
            await worker.asked("two")
            waited = await worker.of("user", 2)
            assert [frame["message"]["content"] for frame in waited] == ["one", "two"]
            await browser.event("agent", "run.started")
            await worker.answer("both", "a-1")
            await worker.end("both", "r-1")
            await browser.event("agent", "run.completed")
        async with Worker(server, session, a_key(server)) as again:
            await again.ready(viewer)
            await viewer.say("three", uuid="u-3")
            assert (await again.asked("three")) == again.events[0]


async def test_a_turn_whose_worker_does_not_come_back_fails_and_says_so(serve, join):
    server = serve(WORKER_GRACE_S="1", NODE_LEASE_S="3")
    session = a_session(server)
    browser = await join(server, token=ALICE)
    async with Viewer(server, session, ALICE) as viewer:
        async with Worker(server, session, a_key(server)) as worker:
            await worker.ready(viewer)
            pending = await browser.send("chat.send", message="hi", sessionKey="s")
            await worker.asked("hi")
            await worker.ask("q-1")
            await viewer.of("control_request")
        assert "the worker has gone" in (await browser.answer(pending))["error"]["message"]
        (result,) = await viewer.of("result")
        assert result["result"] == "the worker has gone"
        await viewer.of("control_cancel_request")
        await viewer.say("echo this", uuid="u-2")
        assert (await viewer.of("result", 2))[-1]["result"] == "echo this"


async def test_who_may_work_a_session(serve):
    server = serve()
    session = a_session(server)
    for key, code in [
        (ALICE, 4003),
        (a_key(server, "operator.write"), 4003),
        ("", 4003),
        (a_key(server, user="bob"), 4001),
        (a_key(server, user="carol"), 4001),
    ]:
        async with Worker(server, session, key) as worker:
            assert (await worker.closed())[0] == code
    admins = a_key(server, "sessions.work,operator.admin", "root")
    async with (
        Worker(server, session, admins) as worker,
        Viewer(server, session, ALICE) as viewer,
    ):
        await worker.ready(viewer)
        await viewer.say("hi", uuid="u-1")
        await worker.asked("hi")
