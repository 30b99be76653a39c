"""The agent `openai` in real runs: `manage.py serve`, a real endpoint, real sockets."""

from __future__ import annotations

import asyncio

import pytest

from tests.live.viewer import Viewer
from tests.services.people import key_of
from tests.sessions_app.agents.upstream import (
    Upstream,
    broken_off,
    good,
    hung_up,
    refusing,
    stall,
    writing,
)

pytestmark = pytest.mark.live

KEY = "sk-never-to-be-seen"


@pytest.fixture
def begin(serve):
    """`await begin(upstream)`: the gateway whose default agent asks this endpoint."""

    def start(upstream, **settings):
        return serve(
            DEFAULT_AGENT="openai",
            OPENAI_MODEL="small",
            OPENAI_BASE_URL=upstream.url,
            OPENAI_API_KEY=KEY,
            **settings,
        )

    async def begin(upstream, database="sqlite", **settings):
        # In a thread: the endpoint answers on this loop.
        return await asyncio.to_thread(start, upstream, database=database, **settings)

    return begin


async def test_an_answer_is_streamed_recorded_and_found_in_the_history(begin, join):
    async with Upstream(good) as upstream:
        server = await begin(upstream)
        alice = await join(server, token=server.token, user_id="alice")
        answer = await alice.ask("chat.send", message="hi", sessionKey="s", stream=True)
        assert answer["content"] == "Hello world"
        assert answer["usage"] == {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
        kinds = alice.run_events(answer["runId"])
        assert (kinds[0], set(kinds[1:-1]), kinds[-1]) == (
            "run.started",
            {"chunk"},
            "run.completed",
        )
        await alice.ask("chat.send", message="and?", sessionKey="s")
        said = [(one["role"], one["content"]) for one in upstream.lines[1].body["messages"]]
        assert said == [("user", "hi"), ("assistant", "Hello world"), ("user", "and?")]
        rows = (await alice.ask("agents.list"))["agents"]
        assert [(row["id"], row["model"]) for row in rows] == [
            ("echo", "echo"),
            ("worker", "worker"),
            ("openai", "small"),
        ]
        echoed = await alice.ask("chat.send", message="hi", sessionKey="t", agentId="echo")
        assert echoed["content"] == "hi"
        assert KEY not in str(alice.frames) + server.log()


async def test_an_abort_hangs_up_on_the_endpoint_and_keeps_what_was_said(begin, join):
    async with Upstream(stall) as upstream:
        server = await begin(upstream)
        alice = await join(server, token=server.token, user_id="alice")
        pending = await alice.send("chat.send", message="hi", sessionKey="s", stream=True)
        await alice.event("agent", "chunk")
        await alice.ask("chat.abort", sessionKey="s")
        await hung_up(upstream.lines[0])
        assert (await alice.answer(pending))["payload"] == {"cancelled": True}
        last = (await alice.ask("chat.history", sessionKey="s"))["messages"][-1]
        assert (last["content"], last["partial"]) == ("Hello ", True)


async def test_another_attempt_is_told_before_the_answer(begin, join):
    async with Upstream(refusing(429, Retry_After="0"), good) as upstream:
        server = await begin(upstream)
        created = await asyncio.to_thread(server.run, "create_session", "s", "--user", "alice")
        assert "session_" in created
        alice = await join(server, token=server.token, user_id="alice")
        async with Viewer(server, "s", key_of("alice")) as viewer:
            await viewer.entered()  # who still reads what is stored hears nothing live
            answer = await alice.ask("chat.send", message="hi", sessionKey="s")
            assert answer["content"] == "Hello world"
            kinds = alice.run_events(answer["runId"])
            assert kinds == ["run.started", "run.retrying", "run.completed"]
            told = await alice.event("agent", "run.retrying")
            assert told["payload"] == {"attempt": 2, "maxAttempts": 3}
            await viewer.of("result")
            (status,) = await viewer.of("system")
            assert (status["subtype"], status["status"]) == ("status", "retrying")
            assert (status["attempt"], status["maxAttempts"]) == (2, 3)
            kinds = [frame["type"] for frame in viewer.frames]
            assert kinds.index("system") < kinds.index("assistant") < kinds.index("result")


async def test_an_answer_that_breaks_off_fails_and_is_kept_and_the_session_goes_on(begin, join):
    async with Upstream(broken_off, good) as upstream:
        server = await begin(upstream)
        alice = await join(server, token=server.token, user_id="alice")
        error = await alice.refused("chat.send", message="hi", sessionKey="s")
        assert error["message"].endswith("the answer of the model's endpoint broke off")
        failed = await alice.event("agent", "run.failed")
        assert failed["payload"] == {"error": "the answer of the model's endpoint broke off"}
        last = (await alice.ask("chat.history", sessionKey="s"))["messages"][-1]
        assert (last["content"], last["partial"]) == ("Hello ", True)
        again = await alice.ask("chat.send", message="again", sessionKey="s")
        assert again["content"] == "Hello world"


async def test_what_no_database_takes_does_not_hold_up_the_end_of_a_run(begin, join):
    said = b'data: {"choices":[{"delta":{"content":"a\\u0000b"},"finish_reason":"stop"}]}\n\n'
    wrong = refusing(400, "no\x00 such \ud7ff")
    async with Upstream(writing(said), wrong) as upstream:
        server = await begin(upstream, database="postgres")
        alice = await join(server, token=server.token, user_id="alice")
        answer = await alice.ask("chat.send", message="hi", sessionKey="s")
        assert answer["content"] == "ab"
        error = await alice.refused("chat.send", message="hi", sessionKey="s")
        assert "answered 400: no such" in error["message"]


async def test_a_drain_hangs_up_on_the_endpoint(begin, join):
    async with Upstream(stall) as upstream:
        server = await begin(upstream, DRAIN_S="1")
        alice = await join(server, token=server.token, user_id="alice")
        await alice.send("chat.send", message="hi", sessionKey="s", stream=True)
        await alice.event("agent", "chunk")
        assert await asyncio.to_thread(server.terminate) == 0
        await hung_up(upstream.lines[0])
