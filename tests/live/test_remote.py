"""A session watched and spoken in over real sockets. Source: PROTOCOLS.md 3, 6."""

from __future__ import annotations

import asyncio
import itertools

import httpx
import pytest

from tests.live.made import a_session
from tests.live.viewer import Viewer, bearer
from tests.services.people import key_of

pytestmark = [pytest.mark.live, pytest.mark.own_server]

ALICE, ROOT = key_of("alice"), key_of("root")


async def turns(viewer, *texts):
    """Say each, and wait for its turn to end."""
    for text in texts:
        await viewer.say(text, uuid=f"u-{text}")
        await viewer.frame(
            lambda f, text=text: f["type"] == "result" and f["result"] == text,
        )


async def test_what_is_said_is_answered_and_everyone_who_watches_sees_the_same(serve):
    server = serve()
    session = a_session(server)
    async with Viewer(server, session, ALICE) as here, Viewer(server, "s", ROOT) as there:
        await there.entered()
        await here.entered()
        await here.say("hello there", uuid="u-1")
        await here.of("result")
        await there.of("result")
        assert here.stored == there.stored
        (user,) = await there.of("user")
        assert (user["uuid"], user["message"]["content"]) == ("u-1", "hello there")
        (answer,) = await there.of("assistant")
        assert answer["message"]["content"] == [{"type": "text", "text": "hello there"}]
        assert [f["type"] for f in there.events if f["type"] != "stream_event"] == [
            "user",
            "assistant",
            "result",
        ]
        for viewer in (here, there):
            partials = await viewer.of("stream_event", 2)
            assert "".join(p["event"]["delta"]["text"] for p in partials) == "hello there"
            for frame in viewer.events:
                assert frame["session_id"] == session
                assert frame["uuid"]
                assert frame["created_at"].endswith("Z")


async def test_the_same_uuid_is_one_message(serve):
    server = serve()
    session = a_session(server)
    async with Viewer(server, session, ALICE) as viewer:
        await viewer.say("once", uuid="u-1")
        await viewer.of("result")
        await viewer.say("once", uuid="u-1")
        await turns(viewer, "twice")
        assert [f["uuid"] for f in await viewer.of("user")] == ["u-1", "u-twice"]


async def test_what_was_said_just_before_the_socket_closed_is_stored_and_answered(serve):
    server = serve()
    session = a_session(server)
    async with Viewer(server, session, ALICE) as watching:
        await watching.entered()
        for number in range(10):
            async with Viewer(server, session, ALICE) as hasty:
                await hasty.say(f"slow 0.{number}", uuid=f"u-{number}")
        stored = await watching.of("user", 10)  # what comes on different sockets has no order
        assert sorted(frame["uuid"] for frame in stored) == [f"u-{number}" for number in range(10)]
        await watching.of("result")


async def test_several_objects_in_one_frame_are_several(serve):
    server = serve()
    session = a_session(server)
    async with Viewer(server, session, ALICE) as viewer:
        said = {"role": "user", "content": "slow 0.2"}
        user = [{"type": "user", "uuid": f"u-{n}", "message": said} for n in range(3)]
        await viewer.send({"type": "keep_alive"}, user[0], {"type": "new"}, *user[1:])
        assert [f["uuid"] for f in await viewer.of("user", 3)] == ["u-0", "u-1", "u-2"]
        await viewer.socket.send(b'{"type":"keep_alive"}\n')
        await viewer.of("result")


async def test_001_and_002_are_one_session(serve, join):
    server = serve()
    session = a_session(server)
    browser = await join(server, token=ALICE)
    async with Viewer(server, session, ALICE) as viewer:
        await viewer.entered()
        answer = await browser.ask("chat.send", message="from 001", sessionKey="s")
        (result,) = await viewer.of("result")
        assert (result["result"], result["is_error"]) == ("from 001", False)
        await viewer.say("from 002", uuid="u-2")
        await browser.frame(
            lambda f: (
                f.get("event") == "agent" and f["payload"]["payload"].get("content") == "from 002"
            )
        )
        pending = await browser.send("chat.send", message="slow 60", sessionKey="s", stream=True)
        await viewer.of("user", 3)
        await viewer.say("one more", uuid="u-4")
        await viewer.frame(
            lambda f: f["type"] == "stream_event" and "one more" in f["event"]["delta"]["text"]
        )
        await browser.ask("chat.abort", sessionKey="s")
        assert (await browser.answer(pending))["payload"] == {"cancelled": True}
        *_, last = await viewer.of("result", 3)
        assert last["is_error"]
        history = await browser.ask("chat.history", sessionKey="s")
        roles = [(m["role"], m["content"]) for m in history["messages"]][:4]
        assert roles == [
            ("user", "from 001"),
            ("assistant", "from 001"),
            ("user", "from 002"),
            ("assistant", "from 002"),
        ]
        assert answer["content"] == "from 001"
        await browser.ask("sessions.delete", key="s")
        assert await viewer.closed() == (4001, "session not found")


async def test_a_replay_has_every_event_once_and_goes_on_live(serve):
    server = serve(SESSION_REPLAY_MAX="7")
    session = a_session(server)
    async with Viewer(server, session, ALICE) as viewer:
        await turns(viewer, "a", "b", "c")
        whole = viewer.stored
        async with Viewer(server, session, ALICE, replay="true") as late:
            await late.entered()
            await turns(viewer, "d")
            await late.frame(lambda f: f["type"] == "result" and f["result"] == "d")
            assert late.stored == viewer.stored[2:]
        async with Viewer(server, session, ALICE, after_id=whole[4]) as back:
            await back.entered()
            await turns(viewer, "e")
            await back.frame(lambda f: f["type"] == "result" and f["result"] == "e")
            assert back.stored == viewer.stored[5:]
        async with Viewer(server, session, ALICE) as bare:
            await bare.entered()
            await turns(viewer, "f")
            await bare.of("result")
            assert bare.stored == viewer.stored[-3:]


FILL = """
from sessions_app.models import Session, SessionEvent
session = Session.objects.get(key="s")
SessionEvent.objects.bulk_create(
    SessionEvent(session=session, seq=n + 1, kind="user", content="x" * 300, uuid=f"e-{{n}}")
    for n in range({count})
)
Session.objects.filter(pk=session.pk).update(last_seq={count})
"""


@pytest.mark.timeout(240)
async def test_ten_thousand_events_replay_without_a_gap_while_new_ones_arrive(serve):
    server = serve(SESSION_REPLAY_MAX="20000", OUTBOUND_MAX_BYTES="200000")
    session = a_session(server)
    await asyncio.to_thread(server.run, "shell", "--verbosity=0", "-c", FILL.format(count=10_000))
    async with (
        Viewer(server, session, ALICE) as speaker,
        Viewer(server, session, ALICE, replay="true") as late,
    ):
        await speaker.entered()
        replayed = asyncio.create_task(late.frame(lambda f: f.get("uuid") == "e-9999", 60))
        meanwhile = itertools.count()
        while not replayed.done():
            last = f"m{next(meanwhile)}"
            await turns(speaker, last)
        await replayed
        await late.frame(lambda f: f["type"] == "result" and f["result"] == last, 60)
        assert late.stored == [f"e-{number}" for number in range(10_000)] + speaker.stored


async def test_what_is_posted_over_http_is_answered_on_the_sockets(serve, join):
    server = serve()
    browser = await join(server, token=ALICE)
    async with httpx.AsyncClient(base_url=server.url, headers=bearer(ALICE), timeout=20) as http:
        said = {"type": "user", "uuid": "u-1", "message": {"role": "user", "content": "hello"}}
        made = await http.post(
            "/v1/sessions", json={"title": "t", "events": [{"type": "event", "data": said}]}
        )
        session = made.json()["id"]
        await browser.event("agent", "run.completed")
        async with Viewer(server, session, ALICE, replay="true") as viewer:
            await viewer.of("result")
            asked = {"type": "control_request", "request_id": "c-1"}
            more = {**said, "uuid": "u-2", "message": {"role": "user", "content": "again"}}
            answer = await http.post(
                f"/v1/sessions/{session}/events",
                json={"events": [more, {**asked, "request": {"subtype": "initialize"}}]},
            )
            assert (answer.status_code, answer.json()) == (200, {})
            assert (await viewer.answer_to("c-1"))["subtype"] == "success"
            assert (await viewer.of("result", 2))[-1]["result"] == "again"
            listed = (await http.get(f"/v1/sessions/{session}/events")).json()
            assert [one["uuid"] for one in listed["data"]] == viewer.stored
            assert not listed["has_more"]


@pytest.mark.postgres
async def test_two_processes_show_the_same_log_and_a_request_is_answered_once_on_both(serve):
    first = serve(database="postgres")
    second = serve(beside=first)
    session = a_session(first)
    async with Viewer(first, session, ALICE) as here, Viewer(second, session, ALICE) as there:
        await here.initialized()
        await there.control("init", subtype="initialize")
        assert await there.answer_to("init") == await here.answer_to("init")
        for number in range(20):
            viewer = (here, there)[number % 2]
            await viewer.say(f"m{number}", uuid=f"u-{number}")
            await viewer.frame(
                lambda f, text=f"m{number}": f["type"] == "result" and f["result"] == text
            )
        for viewer in (here, there):
            await viewer.of("result", 20)
        assert here.stored == there.stored
        assert len(here.stored) == len(set(here.stored)) == 60
