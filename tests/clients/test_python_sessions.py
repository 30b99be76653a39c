"""The Python session client: the door, retries, signs of life, what was missed.

Source: PROTOCOLS.md 3.7, 3.8, 3.9.
"""

from __future__ import annotations

import asyncio

import pytest
from websockets.frames import Frame, Opcode

from tests.clients.far_end import until
from tests.clients.watching import Viewer, events, query
from trunkline_client import GaveUp, Lost, NotFound, Resumed, Revoked, Timing
from trunkline_client.sessions import FIXED, GROWING
from trunkline_client.story import Story


async def test_it_shows_a_fresh_token_in_a_header_at_each_attempt(session_server):
    tokens = iter(["one", "two"])
    viewer = Viewer(session_server, token=lambda: next(tokens), organization="acme", replay=True)
    async with viewer.watching():
        visit = await session_server.visit()
        path = "/v1/sessions/ws/session_1/subscribe?organization_uuid=acme&replay=true"
        assert (visit.path, visit.headers["Authorization"]) == (path, "Bearer one")
        await viewer.connected()
        await session_server.drop()
        assert (await session_server.visit(1)).headers["Authorization"] == "Bearer two"


async def test_it_is_connected_when_all_is_told(session_server):
    session_server.pongs = False
    viewer = Viewer(session_server)
    async with viewer.watching():
        visit = await session_server.visit()
        await until(lambda: visit.frames)
        assert not viewer.client.is_connected()
        await visit.say({"type": "keep_alive"})
        await viewer.connected()
        assert viewer.client.is_connected()


async def test_after_five_tries_in_a_row_it_gives_up(session_server):
    session_server.close_with = [1011] * 9
    viewer = Viewer(session_server)
    async with viewer.watching():
        assert isinstance(await viewer.over(), GaveUp)
    assert session_server.attempts == 6
    delays = [lost.delay_s for lost in viewer.of(Lost)]
    assert delays == [0.01, 0.01, 0.01, 0.01, 0.01, None]


async def test_a_connection_gives_all_tries_back(session_server):
    viewer = Viewer(session_server, max_retries=1)
    async with viewer.watching():
        for times in range(4):
            await viewer.connected(times + 1)
            await session_server.drop()
        await viewer.connected(5)


async def test_without_a_limit_the_delays_grow(session_server):
    session_server.refuse = 503
    viewer = Viewer(session_server, max_retries=None)
    async with viewer.watching():
        await until(lambda: len(viewer.of(Lost)) >= 7)
        session_server.refuse = 0
        await viewer.connected()
    delays = [lost.delay_s for lost in viewer.of(Lost)][:7]
    assert delays == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64]


def test_the_times_are_those_of_the_specification():
    assert [FIXED.delay_s(n, 1) for n in (1, 2, 5)] == [2, 2, 2]
    assert [GROWING.delay_s(n, 0) for n in (1, 2, 9)] == [1, 2, 60]
    for timing in (FIXED, GROWING):
        assert (timing.ping_every_s, timing.pong_within_s) == (30, 30)


async def test_4001_is_tried_again_three_times_later_each_time(session_server, monkeypatch):
    monkeypatch.setattr("trunkline_client.sessions.FIXED", Timing(first_delay_s=0.01))
    session_server.close_with = [4001] * 9
    viewer = Viewer(session_server, max_retries=None)
    async with viewer.watching():
        assert isinstance(await viewer.over(), NotFound)
    assert [lost.delay_s for lost in viewer.of(Lost)] == [0.01, 0.02, 0.03, None]


async def test_4003_ends_it_whatever_gives_the_token(session_server):
    session_server.close_with = [4003]
    viewer = Viewer(session_server, token=lambda: "secret", max_retries=None)
    async with viewer.watching():
        assert isinstance(await viewer.over(), Revoked)
        with pytest.raises(Revoked):
            await viewer.client.send_message("hello")
    assert session_server.attempts == 1


async def test_it_pings_with_frames_and_gives_a_silent_line_up(session_server, monkeypatch):
    quick = Timing(ping_every_s=0.05, pong_within_s=1, first_delay_s=0.01, jitter=0)
    viewer = Viewer(session_server, timing=quick)
    async with viewer.watching():
        visit = await session_server.visit()
        await viewer.connected()
        pongs = []
        send_frame = visit.socket.protocol.send_frame

        def noted(frame: Frame) -> None:
            if frame.opcode is Opcode.PONG:
                pongs.append(frame)
            send_frame(frame)

        monkeypatch.setattr(visit.socket.protocol, "send_frame", noted)
        await until(lambda: len(pongs) >= 4)
        visit.socket.transport.pause_reading()  # a line that has died
        lost = await until(lambda: viewer.of(Lost))
        assert lost[0].loss.reason == "no pong within 1 s"
        assert [frame for frame in visit.frames if frame["type"] == "keep_alive"] == [
            {"type": "keep_alive"}
        ]
        await viewer.connected(2)


async def test_reconnect_dials_anew_also_while_it_waits(session_server):
    slow = Timing(first_delay_s=60, jitter=0)
    viewer = Viewer(session_server, timing=slow)
    async with viewer.watching():
        await viewer.connected()
        await viewer.client.reconnect()
        await viewer.connected(2)
        assert viewer.of(Lost)[0].delay_s == 0.5
        await session_server.drop()
        await until(lambda: len(viewer.of(Lost)) == 2)
        assert viewer.of(Lost)[1].delay_s == 60
        await viewer.client.reconnect()
        await viewer.connected(3)


async def test_it_can_be_closed_while_it_waits(session_server):
    session_server.refuse = 503
    viewer = Viewer(session_server, timing=Timing(first_delay_s=60, jitter=0))
    async with asyncio.timeout(8), viewer.watching():
        await until(lambda: viewer.of(Lost))
    assert session_server.attempts == 1


async def test_what_was_missed_comes_once_and_it_is_said_how_much(session_server):
    viewer = Viewer(session_server)
    async with viewer.watching():
        visit = await session_server.visit()
        await viewer.connected()
        await visit.say(*events("a1", "a2"))
        await until(lambda: viewer.uuids == ["a1", "a2"])
        session_server.replays = [events("a2", "a3", "a4"), events("a4"), events("a9")]
        for times in range(3):
            await session_server.drop()
            await viewer.connected(times + 2)
        sent = [query(visit).get("after_id") for visit in session_server.visits]
        assert sent == [None, "a1", "a3", "a3"]
        resumed = [(one.recovered, one.missed) for one in viewer.of(Resumed)]
        assert resumed == [(True, 2), (True, 0), (False, 1)]
        assert viewer.uuids == ["a1", "a2", "a3", "a4", "a9"]


def test_a_return_that_is_cut_is_judged_with_the_next():
    story = Story()
    assert story.ask() == {}
    assert story.told() is None
    assert story.ask() == {"replay": "true"}
    assert story.told() == Resumed(True, 0)
    assert [story.heard(uuid) for uuid in ("a1", "a2", "a1")] == [True, True, False]
    story.ask()
    story.heard("a5")
    assert story.ask() == {"after_id": "a2"}
    story.heard("a5")
    story.heard("a6")
    assert story.told() == Resumed(False, 2)
    assert Story(after_id="a0").ask() == {"after_id": "a0"}


def test_a_worker_asks_for_what_comes_after_its_last_message_and_for_no_replay():
    story = Story(works=True)
    assert story.ask() == {}
    story.told()
    assert story.ask() == {}
    story.heard("u1")
    story.heard("u2")
    assert story.ask() == {"after_id": "u2"}


async def test_a_token_that_never_comes_is_a_failed_attempt(session_server):
    asked_for, waits = [], asyncio.Event()

    async def token() -> str:
        asked_for.append(1)
        await waits.wait()
        return "late"

    short = Timing(open_timeout_s=0.05, first_delay_s=0.01, jitter=0)
    viewer = Viewer(session_server, token=token, timing=short)
    async with viewer.watching():
        assert isinstance(await viewer.over(), GaveUp)
        assert {str(lost.loss) for lost in viewer.of(Lost)} == {"no credentials: TimeoutError"}
    tries = len(asked_for)
    viewer = Viewer(session_server, token=token)
    async with asyncio.timeout(8), viewer.watching():
        await until(lambda: len(asked_for) > tries)
    waits.set()
    assert session_server.attempts == 0
