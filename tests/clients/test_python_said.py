"""The Python session client: what was said, and a worker's questions. PROTOCOLS.md 3.4, 3.8."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from tests.clients.far_end import PATIENCE_S, response, until
from tests.clients.watching import Viewer, asked
from trunkline_client import QueueFull, Refused

QUESTION = {"type": "control_request", "request_id": "q1", "request": {"subtype": "can_use_tool"}}
ALLOW = {"behavior": "allow", "updatedInput": {}}


@asynccontextmanager
async def told_a_question(session_server):
    """A viewer that has been told of the open question, and its visit to the server."""
    session_server.open_questions = [QUESTION]
    viewer = Viewer(session_server)
    async with viewer.watching():
        visit = await session_server.visit()
        await until(lambda: QUESTION in viewer.told)
        yield viewer, visit


async def test_what_is_said_is_said_again_until_it_is_stored(session_server):
    viewer = Viewer(session_server)
    async with viewer.watching():
        await viewer.connected()
        saying = asyncio.create_task(viewer.client.send_message("hello", event_id="u1"))
        first = await session_server.visit()
        await until(lambda: asked(first))
        assert viewer.client.queued == 1
        await session_server.drop()
        second = await session_server.visit(1)
        await until(lambda: asked(second))
        assert asked(first) == asked(second)
        assert asked(second)[0]["message"] == {"role": "user", "content": "hello"}
        await second.say({"type": "user", "uuid": "u1"})
        await asyncio.wait_for(saying, PATIENCE_S)
        await session_server.drop()
        third = await session_server.visit(2)
        await viewer.connected(3)
        assert (asked(third), viewer.client.queued) == ([], 0)


async def test_what_is_said_offline_goes_out_in_order_and_is_bounded(session_server):
    session_server.refuse = 503
    viewer = Viewer(session_server, max_retries=None, queue_max=2)
    async with viewer.watching():
        first = asyncio.create_task(viewer.client.send_message("one", event_id="u1"))
        second = asyncio.create_task(viewer.client.send_control_request("set_model", model="big"))
        await until(lambda: viewer.client.queued == 2)
        with pytest.raises(QueueFull):
            await viewer.client.send_message("three")
        session_server.refuse = 0
        visit = await session_server.visit()
        user, request = await until(lambda: len(asked(visit)) == 2 and asked(visit))
        assert (user["uuid"], request["request"]["model"]) == ("u1", "big")
    for waiting in (first, second):
        with pytest.raises(RuntimeError, match="closed"):
            await waiting


async def test_a_request_has_its_answer_and_an_unanswered_one_is_asked_again(session_server):
    viewer = Viewer(session_server)
    async with viewer.watching():
        visit = await session_server.visit()
        await viewer.connected()
        good = asyncio.create_task(viewer.client.send_control_request("get_settings"))
        bad = asyncio.create_task(viewer.client.send_control_request("foo"))
        one, two = await until(lambda: len(asked(visit)) == 2 and asked(visit))
        await visit.say(response(one["request_id"], {"theme": "dark"}))
        assert await asyncio.wait_for(good, PATIENCE_S) == {"theme": "dark"}
        await session_server.drop()
        again = await session_server.visit(1)
        assert await until(lambda: asked(again)) == [two]
        refused = response(two["request_id"], {})
        refused["response"] |= {"subtype": "error", "error": "no"}
        await again.say(refused)
        with pytest.raises(Refused, match="no"):
            await asyncio.wait_for(bad, PATIENCE_S)


async def test_what_is_said_twice_with_one_id_is_said_once_and_both_hear_that_it_is_stored(
    session_server,
):
    viewer = Viewer(session_server)
    async with viewer.watching():
        visit = await session_server.visit()
        await viewer.connected()
        first, second, third = [
            asyncio.create_task(viewer.client.send_message("hello", event_id="u1"))
            for _ in range(3)
        ]
        await until(lambda: asked(visit))
        first.cancel()
        await visit.say({"type": "user", "uuid": "u1"})
        await asyncio.wait_for(asyncio.gather(second, third), PATIENCE_S)
        assert (len(asked(visit)), viewer.client.queued) == (1, 0)


async def test_a_second_answer_to_a_request_changes_nothing(session_server):
    viewer = Viewer(session_server)
    async with viewer.watching():
        visit = await session_server.visit()
        await viewer.connected()
        asking = asyncio.create_task(viewer.client.send_control_request("get_settings"))
        (one,) = await until(lambda: asked(visit))
        twice = [response(one["request_id"], {"theme": theme}) for theme in ("dark", "light")]
        await visit.say(*twice)
        assert await asyncio.wait_for(asking, PATIENCE_S) == {"theme": "dark"}


async def test_a_look_at_the_open_questions_that_is_refused_shows_nothing(session_server):
    session_server.open_questions = [QUESTION]
    viewer = Viewer(session_server)
    async with viewer.watching():
        await until(lambda: QUESTION in viewer.told)
        await viewer.client.answer("q1", ALLOW)
        session_server.refuse_looks = True
        await session_server.drop()
        await until(lambda: session_server.looked == 2)
        session_server.refuse_looks = False
        await session_server.drop()
        third = await session_server.visit(2)
        await until(lambda: response("q1", ALLOW) in third.frames)
        assert [frame["type"] for frame in viewer.of(dict)] == ["control_request"]


async def test_an_answer_that_is_refused_is_told_and_not_given_again(session_server):
    async with told_a_question(session_server) as (viewer, visit):
        await viewer.client.answer("q1", ALLOW)
        refused = response("q1", {})
        refused["response"] |= {"subtype": "error", "error": "permission denied"}
        await visit.say(refused)
        await until(lambda: refused in viewer.told)
        await session_server.drop()
        await until(lambda: session_server.looked == 2)
        again = await session_server.visit(1)
        await viewer.client.answer("q1", {"behavior": "deny"})
        await until(lambda: response("q1", {"behavior": "deny"}) in again.frames)
        assert response("q1", ALLOW) not in again.frames
        assert viewer.told.count(QUESTION) == 1


async def test_a_question_is_told_once_and_its_end_also_when_that_was_missed(session_server):
    async with told_a_question(session_server) as (viewer, visit):
        await visit.say(QUESTION)
        session_server.open_questions = []
        await session_server.drop()
        await viewer.connected(2)
        settled = {"type": "control_cancel_request", "request_id": "q1"}
        await until(lambda: settled in viewer.told)
        assert viewer.told.count(QUESTION) == 1
        again = await session_server.visit(1)
        await again.say(QUESTION, settled, QUESTION)
        await until(lambda: viewer.told[-3:] == [QUESTION, settled, QUESTION])


async def test_an_answer_is_given_again_while_its_question_is_open(session_server):
    async with told_a_question(session_server) as (viewer, visit):
        await viewer.client.answer("q1", ALLOW)
        answer = response("q1", ALLOW)
        await until(lambda: answer in visit.frames)
        await session_server.drop()
        again = await session_server.visit(1)
        await until(lambda: answer in again.frames)
        await again.say(QUESTION)
        session_server.open_questions = []
        await session_server.drop()
        await viewer.connected(3)
        third = await session_server.visit(2)
        await until(lambda: session_server.looked == 3)
        await third.say(QUESTION)
        await until(lambda: viewer.told[-1] == QUESTION)
        assert viewer.told.count(QUESTION) == 2
        assert answer not in third.frames
