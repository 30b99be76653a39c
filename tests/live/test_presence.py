"""Who is here, over two real processes: all protocols in one view; kill -9, a Redis that goes, late
closes, idle clients, a process that slept too long. Source: PROTOCOLS.md 4.5, 6; decision 0003.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import psycopg
import pytest
from websockets.asyncio.client import connect

from realtime.seen import LIVE_S
from tests.live.client import Client
from tests.live.line import SOON_S
from tests.live.member import Member
from tests.live.viewer import Viewer
from tests.services import FaultProxy, Serve
from tests.services.people import key_of

pytestmark = [pytest.mark.live, pytest.mark.own_server]

OTHERS = "this client id is in use by somebody else"


@dataclass
class View:
    """What `who` is shown by REST, at one process."""

    server: Serve
    who: str = "bob"

    async def members(self, group: str = "") -> list[dict[str, Any]]:
        headers = {"Authorization": f"Bearer {key_of(self.who)}"}
        async with httpx.AsyncClient(base_url=self.server.url, headers=headers, timeout=30) as http:
            answer = await http.get("/api/presence/", params={"group": group})
        assert answer.status_code == 200, answer.text
        members: list[dict[str, Any]] = answer.json()["members"]
        return members

    async def clients(self, group: str = "") -> list[str]:
        return [member["client_id"] for member in await self.members(group)]

    async def until(self, *wanted: str, within_s: float = 30, group: str = "") -> float:
        """Wait until exactly these are here; how long it took."""
        began = time.monotonic()
        while await self.clients(group) != list(wanted):
            assert time.monotonic() - began < within_s, await self.clients(group)
            await asyncio.sleep(0.05)
        return time.monotonic() - began


@pytest.fixture
def pair(serve):
    """Two processes on one PostgreSQL and one Redis."""

    def start(**settings):
        first = serve(database="postgres", **settings)
        return first, serve(beside=first)

    return start


@pytest.fixture
async def enter():
    """`await enter(server, who, group, client)`: a client of 003, gone at the end."""
    async with AsyncExitStack() as stack:

        async def go(*given):
            return await stack.enter_async_context(Member(*given))

        yield go


def said_of(watcher, client):
    """What `watcher` was told of the coming and going of a client id."""
    return [
        message["payload"]["status"]
        for message in watcher.heard
        if message["msg_type"] == "presence" and message["from_id"] == client
    ]


def by_command(server, *arguments):
    members = json.loads(server.run("presence", "--json", *arguments))["members"]
    return [member["client_id"] for member in members]


async def test_all_protocols_of_all_processes_are_in_one_view(serve, enter):
    first = serve()
    second = serve(beside=first) if "REDIS_URL" in first.environ else first
    token = json.loads(first.run("issue_nexus_token", "usr_1", "--json"))["token"]
    secret = {"Authorization": f"Bearer {first.environ['EDGE_SECRET']}"}
    async with AsyncExitStack() as stack:
        await enter(first, "alice", "team ü", "laptop")
        await enter(second, "alice", "team ü", "laptop")  # another tab
        await enter(second, "bob", "elsewhere", "desk")
        await enter(second, "carol", "team ü", "laptop")  # another account
        goclaw = await stack.enter_async_context(Client(second.ws_url))
        await goclaw.ask("connect", token=key_of("alice"))
        for path, headers in [
            (f"/nexus/ws?token={token}", {}),
            ("/edge/ws?edge_agent_id=edge_1", secret),
        ]:
            url = first.ws_url.removesuffix("/ws") + path
            await stack.enter_async_context(connect(url, additional_headers=headers, proxy=None))
        async with asyncio.timeout(30):
            while len(await View(second).members()) < 5:
                await asyncio.sleep(0.05)
        members = await View(second).members()
        shown = [(m["protocol"], m["client_id"], m["user"], m["group"]) for m in members]
        assert sorted(shown, key=str) == sorted(
            [
                ("aether", "laptop", "alice", "team ü"),
                ("aether", "desk", "bob", "elsewhere"),
                ("goclaw", None, "alice", None),
                ("nexus", None, "nexus:usr_1", None),
                ("edge", "edge_1", "edge_1", None),
            ],
            key=str,
        )
        for member in members:
            assert datetime.fromisoformat(member["since"]) <= datetime.fromisoformat(
                member["last_seen"]
            )
        assert by_command(first) == [member["client_id"] for member in members]
        assert by_command(first, "--group", "team ü") == ["laptop"]
        theirs = await View(first, "carol").members()
        assert [(m["client_id"], m["user"]) for m in theirs] == [("laptop", "carol")]


@pytest.mark.postgres
async def test_the_members_of_a_killed_process_vanish_within_its_lease_and_are_announced_once(
    pair, serve, enter
):
    lease_s = 6.0
    first, second = pair(NODE_LEASE_S=str(lease_s), AETHER_ANNOUNCE_PRESENCE="on")
    third = serve(beside=second)  # so that two sweep
    watcher = await enter(second, "bob", "g", "watcher")
    for client in ("desk", "laptop", "laptop", "stays"):
        await enter(first, "alice", "g", client)
    await enter(third, "alice", "g", "stays")
    await View(second).until("watcher", "desk", "laptop", "stays")
    first.kill()
    await View(second).until("watcher", "stays", within_s=lease_s + SOON_S)
    assert by_command(third) == ["watcher", "stays"]
    await asyncio.to_thread(until_rows, second, 2)
    for client in ("desk", "laptop"):
        gone = {"msg_type": "presence", "from_id": client, "payload": {"status": "offline"}}
        await watcher.until(**gone)
        assert said_of(watcher, client) == ["online", "offline"]
        assert announced(second, f'"{client}"', "offline") == 1
    assert said_of(watcher, "stays") == ["online"]


def announced(server, *words):
    """How many announcements have these words."""
    like = " and ".join(["event::text like %s"] * len(words))
    with psycopg.connect(server.environ["DATABASE_URL"]) as database:
        found = database.execute(
            f"select count(*) from realtime_announcement where {like}",
            [f"%{word}%" for word in words],
        )
        return found.fetchone()[0]


@pytest.mark.postgres
@pytest.mark.redis
async def test_heartbeats_write_nothing_to_the_database_and_are_seen_by_all(pair, enter):
    first, second = pair()
    one = await enter(first, "alice", "g", "desk")
    with psycopg.connect(first.environ["DATABASE_URL"], autocommit=True) as database:
        [row], [before] = rows(database), await View(second).members("g")
        assert row[1] == datetime.fromisoformat(before["last_seen"])
        while True:
            async with asyncio.timeout(10 * LIVE_S):
                while (await View(second).members("g"))[0]["last_seen"] == before["last_seen"]:
                    await one.say("echo", msg_type="heartbeat")
                    await asyncio.sleep(0.1)
            if rows(database) == [row]:
                break
            # Only where Redis was too slow for a moment: then the rows are told, once in a while.
            assert "presence.live_lost" in first.log()
            [row], [before] = rows(database), await View(second).members("g")


def rows(database):
    return database.execute(
        "select id, last_seen, xmin::text from sessions_app_presence"
    ).fetchall()


@pytest.mark.postgres
@pytest.mark.redis
async def test_a_redis_that_restarts_loses_nobody_and_is_told_all_again(pair, enter, redis_service):
    first, second = pair(PRESENCE_TTL_S="8")
    everyone = ["desk", "laptop"]
    talkers = [
        await enter(first, "alice", "g", "desk"),
        await enter(second, "alice", "g", "laptop"),
    ]
    async with talking(*talkers):
        await View(first).until(*everyone)
        await all_stay(everyone, first, second, for_s=8.5)  # by their arrival they are idle by now
        redis_service.restart()
        await all_stay(everyone, first, second, for_s=9)
        assert int(redis_service.say("DBSIZE", within_s=30).strip(b":\r\n")) >= 3
        seen = [datetime.fromisoformat(m["last_seen"]) for m in await View(first).members("g")]
        assert min(seen).timestamp() > time.time() - 8


async def all_stay(clients, *servers, for_s):
    ends = time.monotonic() + for_s
    while time.monotonic() < ends:
        for server in servers:
            assert await View(server).clients("g") == clients
        await asyncio.sleep(0.05)


@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.parametrize("what", ["stop", "kill"])
async def test_without_its_redis_the_rows_say_who_is_here_and_nobody_waits(
    pair, enter, redis_service, what
):
    first, second = pair(PRESENCE_TTL_S="15")
    talker = await enter(first, "alice", "g", "desk")
    async with talking(talker):
        await View(second).until("desk")
        getattr(redis_service, what)()
        gone = time.time()
        took_s = []
        for _ in range(20):
            began = time.monotonic()
            assert await View(second).clients("g") == ["desk"]
            took_s.append(time.monotonic() - began)
        assert sorted(took_s)[-3] < 3, "nobody waits but when the machine does"
        assert by_command(second) == ["desk"]
        async with asyncio.timeout(40):  # the process tells the rows instead
            while await last_seen(second) < gone:
                await asyncio.sleep(0.1)


async def last_seen(server):
    [member] = await View(server).members("g")
    return datetime.fromisoformat(member["last_seen"]).timestamp()


@asynccontextmanager
async def talking(*members):
    """They say something all the time."""

    async def talk():
        while True:
            for member in members:
                await member.say("echo", msg_type="heartbeat")
            await asyncio.sleep(0.3)

    task = asyncio.create_task(talk())
    try:
        yield
    finally:
        task.cancel()


async def test_who_watches_a_session_and_says_nothing_is_there_as_long_as_its_socket(serve):
    """It answers our pings; 002 gives it nothing else to say."""
    server = serve(PING_INTERVAL_S="1", PRESENCE_TTL_S="8")
    made = server.run("create_session", "s", "--user", "alice", "--json")
    async with Viewer(server, json.loads(made)["id"], key_of("alice")) as viewer:
        await viewer.initialized()
        deadline = time.monotonic() + 40
        while True:
            (member,) = await View(server, "alice").members()
            since, seen = (datetime.fromisoformat(member[name]) for name in ("since", "last_seen"))
            if (seen - since).total_seconds() > 9:  # later than it would have been idle
                break
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


async def test_an_idle_client_is_not_listed_but_hears_and_comes_back_with_its_next_word(
    serve, enter
):
    server = serve(PRESENCE_TTL_S="6")
    speaker = await enter(server, "bob", "g", "speaker")
    idle = await enter(server, "alice", "g", "idle")
    async with talking(speaker):
        async with talking(idle):
            await View(server).until("speaker", "idle")
        await View(server).until("speaker")
        await speaker.say("group", "still there?")
        await idle.until(msg="still there?")
        assert "idle" not in await View(server).clients(), "hearing is not speaking"
        async with talking(idle):
            await View(server).until("speaker", "idle")


@pytest.mark.postgres
async def test_a_late_close_of_an_old_socket_does_not_remove_the_newer_one(pair, enter):
    first, second = pair(AETHER_ANNOUNCE_PRESENCE="on")
    watcher = await enter(second, "bob", "g", "watcher")
    network = FaultProxy("127.0.0.1", first.port)
    try:
        way = Serve(first.environ)
        way.ws_url = f"ws://127.0.0.1:{network.port}/ws"
        await enter(way, "alice", "g", "phone")
        await View(second).until("watcher", "phone")
        network.mode = "blackhole"  # out of the house: the socket hangs, the client comes anew
        newer = Member(second, "alice", "g", "phone")
        async with newer:
            assert await View(second).clients("g") == ["watcher", "phone"]
            network.mode = "rst"
            await asyncio.to_thread(until_rows, second, 2)
            assert await View(second).clients("g") == ["watcher", "phone"]
            await watcher.say("direct", "you?", to_id="phone")
            await newer.until(msg="you?")
        await View(second).until("watcher")
        await watcher.until(msg_type="presence", from_id="phone", payload={"status": "offline"})
        assert said_of(watcher, "phone") == ["online", "offline"]
    finally:
        network.close()


def until_rows(server, count):
    deadline = time.monotonic() + 30
    with psycopg.connect(server.environ["DATABASE_URL"], autocommit=True) as database:
        while len(rows(database)) != count:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.postgres
async def test_a_process_that_slept_past_its_lease_does_not_take_back_a_client_id(pair, enter):
    first, second = pair(NODE_LEASE_S="5", AETHER_ANNOUNCE_PRESENCE="on")
    watcher = await enter(second, "root", "g", "watcher")
    desk = await enter(first, "alice", "g", "desk")
    phone = await enter(first, "alice", "g", "phone")
    await View(second).until("watcher", "desk", "phone")
    first.stop()
    await View(second).until("watcher")
    await asyncio.to_thread(until_rows, second, 1)
    taken = await enter(second, "bob", "g", "desk")
    first.cont()
    assert await desk.closed() == (4003, OTHERS)
    await View(second).until("watcher", "desk", "phone")
    users = {m["client_id"]: m["user"] for m in await View(second).members("g")}
    assert users == {"watcher": "root", "desk": "bob", "phone": "alice"}
    assert (await taken.echo())["from_id"] == "desk"
    await phone.echo()
    await watcher.until(msg_type="presence", from_id="phone", payload={"status": "offline"})
    await asyncio.to_thread(until_rows, second, 3)
    for client in ("desk", "phone"):  # the other process tells it, when it comes to it
        await watcher.frame(lambda _, client=client: len(said_of(watcher, client)) >= 3)
    await watcher.say("group", "fence")
    await watcher.until(msg="fence")
    assert said_of(watcher, "desk") == ["online", "offline", "online"]
    assert said_of(watcher, "phone") == ["online", "offline", "online"]
