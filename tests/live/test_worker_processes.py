"""A session, its worker and who watches, on two processes of which one may be killed.

Source: PROTOCOLS.md 3.9, 6; decision 0011.
"""

from __future__ import annotations

import pytest

from tests.live.made import a_key, a_session
from tests.live.viewer import Viewer
from tests.live.worker import ALLOW, Worker, response
from tests.services.people import key_of

pytestmark = [
    pytest.mark.live,
    pytest.mark.own_server,
    pytest.mark.postgres,
    pytest.mark.timeout(180),
]

ALICE, ROOT = key_of("alice"), key_of("root")


async def test_two_viewers_and_a_worker_on_two_processes_are_in_one_session(serve, join):
    first = serve(database="postgres")
    second = serve(beside=first)
    session = a_session(first)
    browser = await join(second, token=ALICE)
    async with (
        Worker(first, session, a_key(first)) as worker,
        Viewer(first, session, ALICE) as near,
        Viewer(second, session, ROOT) as far,
    ):
        await worker.ready(near, far)
        pending = await browser.send("chat.send", message="hi", sessionKey="s", stream=True)
        await worker.asked("hi")
        await worker.stream("hel")
        await worker.answer("hello", "a-1")
        await worker.ask("q-1")
        await near.of("control_request")
        await far.of("control_request")
        await far.send(response("q-1", ALLOW))
        answered = await worker.frame(lambda f: f["type"] == "control_response")
        assert answered["response"]["response"] == ALLOW
        await near.of("control_cancel_request")
        await far.control("c-1", subtype="get_settings")
        asked = await worker.frame(lambda f: f.get("request_id") == "c-1")
        await worker.send(response(asked["request_id"], {"theme": "dark"}))
        assert (await far.answer_to("c-1"))["response"] == {"theme": "dark"}
        await far.say("more", uuid="u-2")
        await worker.asked("more")
        await worker.end("hello", "r-1")
        assert (await browser.answer(pending))["payload"]["content"] == "hello"
        await near.of("result")
        await far.of("result")
        assert near.stored == far.stored
        assert near.stored[1:] == ["a-1", "u-2", "r-1"]
        for viewer in (near, far):
            told = [f["uuid"] for f in viewer.events if "uuid" in f]
            assert len(told) == len(set(told))
        assert not [f for f in near.frames if f["type"] == "control_response"]


async def test_the_process_that_holds_the_worker_is_killed_and_nothing_is_lost(serve, join):
    first = serve(database="postgres", NODE_LEASE_S="5")
    second = serve(beside=first)
    session = a_session(first)
    key = a_key(first)
    browser = await join(second, token=ALICE)
    async with (
        Viewer(second, session, ALICE) as viewer,
        Viewer(second, session, ROOT) as other,
    ):
        async with Worker(first, session, key) as worker:
            await worker.ready(viewer, other)
            await viewer.say("hi", uuid="u-1")
            await worker.asked("hi")
            for number in range(20):
                await worker.stream(f"{number} ")
                await worker.answer(f"{number}", f"a-{number}")
            await worker.ask("q-1")
            await viewer.of("control_request")
            await viewer.control("c-1", subtype="initialize")
            first.kill()
        async with Worker(second, session, key, after_id="u-1") as back:
            await viewer.send(response("q-1", ALLOW))
            answered = await back.frame(lambda f: f["type"] == "control_response")
            assert answered["response"]["response"] == ALLOW
            await back.answer("the end", "a-20")
            await back.end("the end", "r-1")
            await viewer.of("result")
            await other.of("result")
            assert other.stored == viewer.stored
            await browser.event("agent", "run.completed")
        assert viewer.stored == ["u-1", *[f"a-{number}" for number in range(21)], "r-1"]
        async with Viewer(second, session, ALICE, replay="true") as late:
            await late.of("result")
            assert late.stored == viewer.stored
            await late.control("c-1", subtype="initialize")
            assert await late.answer_to("c-1") == await viewer.answer_to("c-1")


async def test_a_killed_process_takes_its_worker_with_it_and_the_turn_fails(serve, join):
    first = serve(database="postgres", NODE_LEASE_S="5", WORKER_GRACE_S="1")
    second = serve(beside=first)
    session = a_session(first)
    async with Viewer(second, session, ALICE) as viewer:
        async with Worker(first, session, a_key(first)) as worker:
            await worker.ready(viewer)
            await viewer.say("hi", uuid="u-1")
            await worker.asked("hi")
            await worker.answer("half", "a-1")
            await viewer.of("assistant")
            await viewer.control("c-9", subtype="get_settings")
            await worker.frame(lambda f: f.get("request_id") == "c-9")
            first.kill()
        (result,) = await viewer.of("result")
        assert result["result"] == "the worker has gone"
        assert (await viewer.answer_to("c-9"))["error"] == "the worker has gone"
        assert viewer.stored == ["u-1", "a-1", result["uuid"]]
