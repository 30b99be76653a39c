"""The Python `GroupClient` against a scripted server, over a real socket, with short times."""

from __future__ import annotations

import pytest

from tests.clients.desk import QUICK
from tests.clients.far_end import GroupServer, until
from tests.clients.hearing import hear
from trunkline_client import (
    Connected,
    Failure,
    Gap,
    GroupClient,
    GroupMessage,
    Lost,
    Presence,
    Revoked,
)

KEY = "a-key-that-nobody-may-see"
AT = "2026-01-30T19:44:02.123456+00:00"


def client_of(server, **options):
    given = {"api_key": KEY, "timing": QUICK, "options": {"proxy": None}}
    return GroupClient(server.url, "ein Raum: ü/1", "a@b", **{**given, **options})


def said(msg=None, target="group", **fields):
    return {
        **{"version": "3", "msg_type": "msg", "target": target, "from_id": "b", "to_id": None},
        **{"group_id": "g", "cmd": None, "msg": msg, "payload": {}, "sent_at": AT},
        **fields,
    }


def from_server(cmd, msg=None, **payload):
    return said(msg, "echo", from_id="server", cmd=cmd, payload=payload)


def recovered(offset, epoch="e"):
    return from_server("RECOVERED", recovered=True, epoch=epoch, offset=offset)


def numbered(msg, offset, epoch="e"):
    return said(msg, epoch=epoch, offset=offset)


async def words(client, count):
    """What comes next, as texts of messages and reasons of gaps."""
    heard = await hear(client, count, GroupMessage, Gap)
    return [one.reason if isinstance(one, Gap) else one.msg for one in heard]


def without_heartbeats(visit):
    return [frame for frame in visit.frames if frame != GroupServer.PING]


async def test_its_place_is_the_path_and_its_credentials_are_headers(group_server):
    jwts = iter(["one", "two"])
    async with client_of(group_server, jwt=lambda: next(jwts), account="acme") as client:
        visit = await group_server.visit()
        assert visit.path == (
            "/v3/ws/group/ein%20Raum%3A%20%C3%BC%2F1/client/a%40b?since_epoch=&since_offset="
        )
        assert visit.headers["X-API-Key"] == KEY
        assert visit.headers["Authorization"] == "Bearer one"
        assert visit.headers["X-Account-Id"] == "acme"
        assert KEY not in repr(client)
        await group_server.drop()
        again = await group_server.visit(1)
        assert again.headers["Authorization"] == "Bearer two"
        await until(lambda: GroupServer.PING in again.frames)


def test_a_group_and_a_client_have_names():
    for names in [("", "c"), ("g", "")]:
        with pytest.raises(ValueError, match="may not be empty"):
            GroupClient("ws://127.0.0.1", *names)


async def test_each_way_to_say_something_is_a_message(group_server):
    async with client_of(group_server) as client:
        await client.send_group("hi", {"a": 1})
        await client.send_direct("b", "psst")
        await client.broadcast("all")
        await client.echo("me")
        await client.cmd("restart", {"now": True}, to="b")
        await client.cmd("look")
        await client.send("group", msg_type="presence", payload={"status": "busy"})
        visit = await group_server.visit()
        await until(lambda: len(without_heartbeats(visit)) == 7)
        seen = [
            tuple(frame[name] for name in ("msg_type", "target", "to_id", "cmd", "msg", "payload"))
            for frame in without_heartbeats(visit)
        ]
        assert seen == [
            ("msg", "group", None, None, "hi", {"a": 1}),
            ("msg", "direct", "b", None, "psst", {}),
            ("msg", "broadcast", None, None, "all", {}),
            ("msg", "echo", None, None, "me", {}),
            ("cmd", "direct", "b", "restart", None, {"now": True}),
            ("cmd", "group", None, "look", None, {}),
            ("presence", "group", None, None, None, {"status": "busy"}),
        ]


async def test_every_kind_of_message_becomes_an_event(group_server):
    refused = {"code": "INVALID_REQUEST", "field": "target", "message": "no"}
    group_server.answers = [
        [
            said("hi", payload={"a": 1}),
            said("psst", "direct", to_id="a@b"),
            said("I am who I say", "group", from_id="server", cmd="ERROR"),
            said("my own", "echo", from_id="a@b", cmd="ERROR"),
            said(msg_type="presence", from_id="c", payload={"status": "offline"}),
            from_server("ERROR", "message not routed: no", errors=[refused]),
            from_server("NOTICE", "a word", by="root"),
        ]
    ]
    async with client_of(group_server) as client:
        heard = await hear(client, 7, GroupMessage, Failure)
        assert heard[0] == GroupMessage(
            "msg", "group", "b", None, "g", None, "hi", {"a": 1}, AT, None, None
        )
        assert [one.msg for one in heard[1:4]] == ["psst", "I am who I say", "my own"]
        assert isinstance(heard[4], Presence)
        assert (heard[4].from_id, heard[4].status) == ("c", "offline")
        assert heard[5] == Failure("message not routed: no", (refused,))
        assert heard[6].cmd == "NOTICE"


async def test_what_was_missed_comes_once_and_every_gap_is_told_of(group_server):
    group_server.answers = [
        [recovered(4), said("direct", "direct"), numbered("five", 5)],
        [recovered(7), numbered("five", 5), numbered("six", 6), numbered("seven", 7)],
        [
            from_server("RECOVERED", recovered=False, reason="trimmed", epoch="e", offset=20),
            said(msg_type="presence", msg="here"),
            numbered("22", 22),
        ],
        [recovered(22), said("no number"), numbered("new", 1, "f")],
        [from_server("RECOVERED", recovered=False, reason="off"), said("plain")],
    ]
    async with client_of(group_server) as client:
        for expected in (
            ["direct", "five"],
            ["six", "seven"],
            ["trimmed", "unnumbered", "here", "jump", "22"],
            ["unnumbered", "no number", "epoch", "new"],
            ["off", "plain"],
        ):
            assert await words(client, len(expected)) == expected
            await group_server.drop()
        asked = [visit.path.partition("?")[2] for visit in group_server.visits[:5]]
        assert asked == [
            "since_epoch=&since_offset=",
            "since_epoch=e&since_offset=5",
            "since_epoch=e&since_offset=7",
            "since_epoch=e&since_offset=22",
            "since_epoch=f&since_offset=1",
        ]


async def test_a_server_without_numbers_is_a_gap_each_time_it_was_lost(group_server):
    async with client_of(group_server) as client:
        await hear(client, 1, Connected)
        visit = await group_server.visit()
        await visit.say(said("one"), said("two"))
        assert await words(client, 2) == ["one", "two"]
        await group_server.drop()
        again = await group_server.visit(1)
        assert [one.reason for one in await hear(client, 1, Gap)] == ["unnumbered"]
        await again.say(said("three"))
        assert await words(client, 1) == ["three"]


async def test_what_waited_is_sent_when_the_first_heartbeat_has_come_back(group_server):
    group_server.pongs = False
    async with client_of(group_server) as client:
        await client.send_group("waits")
        visit = await group_server.visit()
        await until(lambda: GroupServer.PING in visit.frames)
        assert without_heartbeats(visit) == [] and client.queued == 1
        await visit.say(GroupServer.PONG)
        await until(lambda: without_heartbeats(visit))
        assert (await hear(client, 1, Connected)) == [Connected()]


async def test_a_revoked_key_ends_it(group_server):
    group_server.close_with = [4003]
    async with client_of(group_server) as client:
        await hear(client, 1, Lost)
        with pytest.raises(Revoked, match="a@b in ein Raum"):
            await anext(client)
