"""The Python `TopicClient` against a scripted server, over a real socket, with short times."""

from __future__ import annotations

import asyncio
import json
import logging
import time

import pytest

from tests.clients.desk import QUICK
from tests.clients.far_end import PATIENCE_S, TopicServer, until
from tests.clients.hearing import hear
from trunkline_client import (
    Connected,
    Failure,
    Gap,
    Lost,
    Message,
    QueueFull,
    Revoked,
    Timing,
    TopicClient,
)

TOKEN = "a-token-that-nobody-may-see"
SLOW = Timing(first_delay_s=30, jitter=0)
PING = TopicServer.PING


def topics(server, token=TOKEN, **options):
    given = {"timing": QUICK, "options": {"proxy": None}}
    return TopicClient(server.url, token, **{**given, **options})


def subscribe(channel, since=None, **filters):
    return {
        "action": "subscribe",
        "channel": channel,
        **({"filters": filters} if filters else {}),
        "since": since,
    }


def plain(channel, **filters):
    return {name: one for name, one in subscribe(channel, **filters).items() if name != "since"}


def recovered(channel, offset, epoch="e"):
    position = {"epoch": epoch, "offset": offset}
    return {"type": "subscribed", "channel": channel, "recovered": True, **position}


def gap(channel, reason, **position):
    told = {"recovered": False, "reason": reason, **position}
    return {"type": "subscribed", "channel": channel, **told}


def said(channel, data, **number):
    at = {"timestamp": "2025-11-03T01:54:29.123Z"}
    return {"type": "message", "channel": channel, "from": "usr_1", "data": data, **at, **number}


async def data(client, count):
    """What comes next, as data of messages and reasons of gaps."""
    heard = await hear(client, count, Message, Gap)
    return [one.data if isinstance(one, Message) else one.reason for one in heard]


def without_pings(visit):
    return [frame for frame in visit.frames if frame != PING]


async def said_to(visit, count):
    """The first frames of a visit, but for pings."""
    await until(lambda: len(without_pings(visit)) >= count, f"{count} frames")
    return without_pings(visit)


# --- the door, and what is said and heard ---


async def test_it_asks_for_its_token_at_each_attempt_and_shows_it_to_nobody_else(
    topic_server, caplog
):
    caplog.set_level(logging.DEBUG)
    tokens = iter(["one /", f"{TOKEN}\n"])

    async def token():
        return next(tokens)

    async with topics(topic_server, token) as client:
        first = await topic_server.visit()
        assert first.path == "/nexus/ws?token=one%20%2F"
        await topic_server.drop()
        second = await topic_server.visit(1)
        assert second.path == f"/nexus/ws?token={TOKEN}"
        assert TOKEN not in repr(client)
    ours = [r.getMessage() for r in caplog.records if r.name != "websockets.server"]
    assert "topics: connected" in ours
    assert TOKEN not in repr(ours)


def test_its_address():
    with pytest.raises(ValueError, match=r"^url: "):
        TopicClient("gateway.example", TOKEN)


async def test_every_kind_of_frame_becomes_an_event(topic_server):
    async with topics(topic_server) as client:
        visit = await topic_server.visit()
        welcome = {"type": "connected", "message": "Welcome to Nexus WebSocket", "userId": "usr_1"}
        await client.subscribe("t", {"a": 1})
        assert await said_to(visit, 1) == [subscribe("t", a=1)]
        at = "2025-11-03T01:54:29.123Z"
        await visit.say(
            welcome,
            {"type": "message", "channel": "t", "from": "usr_2", "timestamp": at},
            {"type": "broadcast", "channel": "t", "data": [1], "timestamp": at},
            {"type": "message", "channel": "other", "data": 2, "timestamp": at},
            {"type": "a kind of next year"},
            {"type": "error", "message": "channel is required"},
        )
        assert await hear(client, 3, Message, Failure) == [
            Message("t", None, "usr_2", at),
            Message("t", [1], None, at),
            Failure("channel is required"),
        ]
        assert client.user_id == "usr_1"
        await client.publish("t", None)
        await client.publish("t")
        assert (await said_to(visit, 3))[1:] == [
            {"action": "publish", "channel": "t", "payload": None},
            {"action": "publish", "channel": "t"},
        ]
        assert 0 < await client.ping() < PATIENCE_S


# --- coming back ---


async def test_filters_are_kept_and_what_waited_is_sent_after_them(topic_server):
    topic_server.answers = [[recovered("t", 4)]]
    async with topics(topic_server) as client:
        await client.subscribe("t", {"a": 1})
        await client.subscribe("t", {"a": True})
        await client.subscribe("t", {"a": 1})
        await client.subscribe("u")
        await client.subscribe("gone")
        await client.unsubscribe("gone")
        visit = await topic_server.visit()
        assert await said_to(visit, 3) == [
            plain("t", a=1),
            subscribe("t", a=True),
            subscribe("u"),
        ]
        await hear(client, 1, Connected)
        topic_server.pongs = False
        await topic_server.drop()
        await hear(client, 1, Lost)
        for number in range(3):
            await client.publish("t", number)
        assert client.queued == 3 and await client.ping() is None
        again = await topic_server.visit(1)
        await said_to(again, 3)
        assert len(without_pings(again)) == 3, "nothing is sent before the first pong"
        topic_server.pongs = True
        await again.say(TopicServer.PONG)
        assert await said_to(again, 6) == [
            plain("t", a=1),
            subscribe("t", {"epoch": "e", "offset": 4}, a=True),
            subscribe("u"),
            *[{"action": "publish", "channel": "t", "payload": number} for number in range(3)],
        ]
        await hear(client, 1, Connected)
        assert client.queued == 0 and client.ready


async def test_filters_that_are_none_are_refused_at_once_and_not_heard_without(topic_server):
    async with topics(topic_server) as client:
        for filters in ("", 0, False, [], "a"):
            with pytest.raises(TypeError, match="filters takes a mapping"):
                await client.subscribe("telemetry", filters)
        await client.subscribe("telemetry", None)
        visit = await topic_server.visit()
        await until(lambda: subscribe("telemetry") in visit.frames)


async def test_so_much_waits_and_no_more(topic_server):
    topic_server.refuse = 503
    async with topics(topic_server, timing=SLOW, queue_max=2) as client:
        for number in range(2):
            await client.publish("t", number)
        with pytest.raises(QueueFull, match="2 messages wait already"):
            await client.publish("t", 2)
        assert client.queued == 2


async def test_whoever_speaks_while_the_queue_is_sent_comes_after_it(topic_server):
    async with topics(topic_server) as client:
        for number in range(50):
            await client.publish("t", number)
        await hear(client, 1, Connected)
        for number in range(50, 60):
            await client.publish("t", number)
        visit = await topic_server.visit()
        frames = await said_to(visit, 60)
        assert [frame["payload"] for frame in frames] == list(range(60))


async def test_a_program_that_is_not_in_its_context_is_told_so(topic_server):
    client = topics(topic_server)
    with pytest.raises(RuntimeError, match="async with"):
        await client.publish("t", 1)
    async with client:
        await hear(client, 1, Connected)
    await until(lambda: topic_server.visits[0].socket.close_code == 1000)
    with pytest.raises(RuntimeError, match="is closed"):
        await client.publish("t", 1)
    assert [event async for event in client] == []
    with pytest.raises(RuntimeError, match="used once"):
        await client.__aenter__()


# --- numbers ---


async def test_what_was_missed_comes_once_and_in_order(topic_server):
    replay = [said("t", number, offset=number) for number in (2, 3, 4, 5)]
    topic_server.answers = [
        [recovered("t", 1), said("t", 2, offset=2), said("t", 3, offset=3)],
        [recovered("t", 5), *replay, said("t", 6, offset=6)],
    ]
    async with topics(topic_server) as client:
        await client.subscribe("t")
        assert await data(client, 2) == [2, 3]
        await topic_server.drop()
        assert await data(client, 3) == [4, 5, 6]
        (frame,) = without_pings(topic_server.visits[1])
        assert frame["since"] == {"epoch": "e", "offset": 3}


async def test_every_gap_is_told_of_before_what_follows_it(topic_server):
    topic_server.answers = [
        [recovered("t", 1), said("t", "b", offset=2), said("t", "d", offset=4)],
        [gap("t", "trimmed", epoch="e", offset=9), said("t", "j", offset=10)],
        [recovered("t", 10), said("t", "x", epoch="f", offset=1), said("t", "y")],
        [gap("t", "away"), said("t", "z")],
    ]
    async with topics(topic_server) as client:
        await client.subscribe("t")
        for expected in (
            ["b", "jump", "d"],
            ["trimmed", "j"],
            ["epoch", "x", "unnumbered", "y"],
            ["away", "z"],
        ):
            assert await data(client, len(expected)) == expected
            await topic_server.drop()


async def test_with_filters_numbers_may_skip_and_nothing_older_slips_in(topic_server):
    topic_server.answers = [
        [recovered("t", 1), said("t", 2, offset=2), said("t", 8, offset=8)],
        # The first of two filters is there already while the second asks.
        [said("t", "live"), recovered("t", 11), said("t", 10, offset=10), said("t", 9, offset=8)],
    ]
    async with topics(topic_server) as client:
        await client.subscribe("t", {"a": 1})
        assert await data(client, 2) == [2, 8]
        await client.subscribe("t", {"b": 2})
        await topic_server.drop()
        assert await data(client, 1) == [10]
        again = topic_server.visits[1]
        await until(lambda: PING in again.frames)
        await hear(client, 1, Connected)
        await topic_server.drop()
        third = await topic_server.visit(2)
        frames = await said_to(third, 2)
        assert frames[1]["since"] == {"epoch": "e", "offset": 11}, "the end of the replay"


async def test_a_server_without_numbers_is_heard_and_a_gap_each_time_it_was_lost(topic_server):
    async with topics(topic_server) as client:
        await client.subscribe("t", {"a": 1})
        await client.subscribe("t", {"b": 2})
        for number, expected in [(0, ["one", "two"]), (1, ["unnumbered", "one", "two"])]:
            visit = await topic_server.visit(number)
            await said_to(visit, 2)
            await visit.say(said("t", "one"), said("t", "two"))
            assert await data(client, len(expected)) == expected
            await topic_server.drop()


# --- how it ends, and how it stays ---


async def test_a_revoked_token_that_was_given_as_a_text_ends_it(topic_server):
    topic_server.close_with = [4003]
    async with topics(topic_server) as client:
        (lost,) = await hear(client, 1, Lost)
        assert (lost.loss.code, lost.delay_s) == (4003, None)
        with pytest.raises(Revoked, match="4003 as scripted"):
            await anext(client)
        with pytest.raises(Revoked):
            await client.publish("t", 1)
        assert topic_server.attempts == 1


async def test_a_function_may_have_another_token_once(topic_server):
    topic_server.close_with = [4003, 4003]
    async with topics(topic_server, lambda: "t") as client:
        lost = await hear(client, 2, Lost)
        assert [one.delay_s for one in lost] == [0.01, None]
        with pytest.raises(Revoked):
            await anext(client)
        assert topic_server.attempts == 2


async def test_after_a_restart_it_is_back_at_once_and_refusals_slow_it_down(topic_server):
    topic_server.close_with = [1012]
    async with topics(topic_server) as client:
        (lost,) = await hear(client, 1, Lost)
        assert (lost.loss.code, lost.delay_s) == (1012, 0)
        await hear(client, 1, Connected)
        topic_server.refuse = 403
        await topic_server.drop()
        _, *refused = await hear(client, 4, Lost)
        assert [(one.loss.status, one.delay_s) for one in refused] == [
            (403, 0.02),
            (403, 0.04),
            (403, 0.08),
        ]


async def test_a_dead_line_is_given_up_and_one_on_which_anything_comes_is_not(topic_server):
    topic_server.pongs = False
    quick = Timing(pong_within_s=1, first_delay_s=0.01, jitter=0)
    async with topics(topic_server, timing=quick) as client:
        visit = await topic_server.visit()
        await client.subscribe("t")
        await said_to(visit, 1)
        began = time.monotonic()
        while time.monotonic() < began + 2.2:
            await visit.say(said("t", "part of a long replay"))
            await data(client, 1)
        assert len(topic_server.visits) == 1
        (lost,) = await hear(client, 1, Lost)
        assert lost.loss.reason == "no pong within 1 s"


async def test_a_slow_reader_holds_up_the_connection_and_loses_nothing(topic_server):
    quick = Timing(pong_within_s=0.5, ping_every_s=0.05, first_delay_s=0.01, jitter=0)
    async with topics(topic_server, timing=quick, inbox_max=2) as client:
        await client.subscribe("t")
        visit = await topic_server.visit()
        await hear(client, 1, Connected)
        await said_to(visit, 1)
        await visit.say(*[said("t", number) for number in range(10)])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(visit.socket.wait_closed(), 1.2)
        assert await data(client, 10) == list(range(10))
        assert len(topic_server.visits) == 1


async def test_what_is_not_understood_ends_nothing(topic_server):
    async with topics(topic_server) as client:
        visit = await topic_server.visit()
        await client.subscribe("t")
        await said_to(visit, 1)
        for text in ("{", "[]", "null", json.dumps({"type": ["?"], "channel": {}})):
            await visit.socket.send(text)
        await visit.say(said("t", "after"))
        assert await data(client, 1) == ["after"]
