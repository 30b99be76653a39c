"""Who hears what in 003, in one process and over two. Source: PROTOCOLS.md 4.3 to 4.7, 6."""

from __future__ import annotations

import datetime as dt
import json
from contextlib import AsyncExitStack

import httpx
import pytest

from tests.live.member import Member
from tests.services.people import key_of

pytestmark = [pytest.mark.live, pytest.mark.own_server]

SUPERUSER = """
import hashlib
from accounts.models import Account, ApiKey, User
user = User.objects.create_superuser("zeus")
key = KEY
ApiKey.objects.create(account=Account.default(), user=user, name="live", prefix=key[4:12],
                      digest=hashlib.sha256(key.encode()).hexdigest())
""".replace("KEY", repr(key_of("zeus")))

# name: (who, group, client id, which process)
CAST = {
    "alice": ("alice", "team ü", "laptop", 0),
    "tab": ("alice", "team ü", "laptop", 1),
    "phone": ("alice", "elsewhere", "phone", 1),
    "bob": ("bob", "team ü", "bob:1", 1),
    "root": ("root", "elsewhere", "root@desk", 0),
    "carol": ("carol", "team ü", "laptop", 1),  # another account, the same names
    "zeus": ("zeus", "olympus", "zeus", 0),
}
OURS = set(CAST) - {"carol"}
TEAM = {"alice", "tab", "bob"}


class Stage:
    """The cast, connected; `scene(…)` says something and tells who heard it."""

    def __init__(self, members):
        self.members = members
        self.fences = 0

    async def heard(self, word):
        """By whom; a superuser's broadcast from the process of the sender comes after it."""
        self.fences += 1
        fence = f"fence {self.fences}"
        for speaker in ("zeus", "zeus there"):
            await self.members[speaker].say("broadcast", f"{fence} {speaker}")
        for member in self.members.values():
            for speaker in ("zeus", "zeus there"):
                await member.until(msg=f"{fence} {speaker}")
        times = {
            name: sum(message["msg"] == word for message in member.heard)
            for name, member in self.members.items()
            if name != "zeus there"
        }
        assert max(times.values(), default=0) <= 1, f"{word} came twice: {times}"
        return {name for name, count in times.items() if count}


@pytest.fixture
async def stage():
    async with AsyncExitStack() as stack:

        async def enter(*servers):
            servers[0].run("shell", "-c", SUPERUSER)
            cast = {**CAST, "zeus there": ("zeus", "olympus", "zeus", 1)}
            members = {}
            for name, (who, group, client, where) in cast.items():
                server = servers[where % len(servers)]
                members[name] = await stack.enter_async_context(Member(server, who, group, client))
            return Stage(members)

        yield enter


async def play(stage):
    """The whole matrix: every sender, every target."""
    by_id = {
        "laptop": {"alice", "tab"},
        "phone": {"phone"},
        "bob:1": {"bob"},
        "root@desk": {"root"},
        "zeus": {"zeus"},
        "nobody": set(),
    }
    groups = {"team ü": TEAM, "elsewhere": {"phone", "root"}, "olympus": {"zeus"}}
    for sender in CAST:
        says, group = stage.members[sender].say, CAST[sender][1]
        ours = sender != "carol"
        everyone = set(CAST) if sender == "zeus" else OURS if ours else {"carol"}
        words = [("group", {}, groups[group] if ours else {"carol"}), ("broadcast", {}, everyone)]
        words.append(("echo", {}, {sender}))
        for to_id, receivers in by_id.items():
            theirs = {"carol"} if to_id == "laptop" else set()
            words.append(("direct", {"to_id": to_id}, receivers if ours else theirs))
        for number, (target, fields, _) in enumerate(words):
            await says(target, f"{sender} {number}", **fields)
        # What others say from now on comes after it: sockets have no order among each other.
        await stage.members[sender].echo(f"{sender} has said it")
        for number, (target, fields, receivers) in enumerate(words):
            for name in receivers:  # what is numbered goes another way than the fences
                await stage.members[name].until(msg=f"{sender} {number}")
            assert await stage.heard(f"{sender} {number}") == receivers, (sender, target, fields)


@pytest.mark.timeout(240)
async def test_every_target_reaches_exactly_its_receivers_in_one_process(serve, stage):
    await play(await stage(serve(database="sqlite")))


@pytest.mark.postgres
@pytest.mark.timeout(240)
async def test_every_target_reaches_exactly_its_receivers_over_two_processes(serve, stage):
    first = serve(database="postgres")
    await play(await stage(first, serve(beside=first)))


@pytest.mark.timeout(240)
async def test_no_field_lets_a_message_out_of_its_account_its_group_or_its_name(serve, stage):
    scene = await stage(serve(database="sqlite"))
    bob = scene.members["bob"]
    spoofs = {
        "from_id": ["laptop", "server", "root@desk", 7, None],
        "group_id": ["elsewhere", "other", ["team ü"], None],
        "version": ["2", 3],
        "sent_at": ["2001-01-01T00:00:00Z", 0],
        "x_account_id": ["other"],
        "account": ["other"],
        "account_id": ["other"],
        "realm": ["aether:other", "aether"],
        "addresses": [[["everyone", "aether", ""]]],
        "event": ["system.disconnect"],
        "name": ["system.disconnect"],
    }
    number = 0
    for field, values in spoofs.items():
        for value in values:
            number += 1
            await bob.say("group", f"spoof {number}", payload={field: value}, **{field: value})
            await bob.say("direct", f"direct {number}", to_id="laptop", **{field: value})
    for one in range(1, number + 1):
        message = await scene.members["tab"].until(msg=f"spoof {one}")
        assert (message["version"], message["from_id"]) == ("3", "bob:1")
        assert (message["group_id"], message["to_id"]) == ("team ü", None)
        age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(message["sent_at"])
        assert abs(age) < dt.timedelta(seconds=60)
        direct = await scene.members["tab"].until(msg=f"direct {one}")
        assert (direct["from_id"], direct["group_id"]) == ("bob:1", "team ü")
    assert await scene.heard(f"spoof {number}") == TEAM
    assert await scene.heard(f"direct {number}") == {"alice", "tab"}
    for to_id in ("other/laptop", "aether:other", "other:laptop", "*", "everyone", "server"):
        await bob.say("direct", f"to {to_id}", to_id=to_id)
        await bob.echo(f"to {to_id} is said")
        assert await scene.heard(f"to {to_id}") == set()


async def test_what_cannot_be_routed_is_answered_to_its_sender_alone(serve):
    server = serve(database="sqlite")
    async with Member(server, "alice", "g", "a") as alice, Member(server, "bob", "g", "b") as bob:
        bad = [
            "nonsense",
            "[]",
            '{"msg":"v2"}',
            '{"msg_type":"msg","target":"all","msg":"x"}',
            '{"msg_type":"msg","target":"direct","msg":"x"}',
            '{"msg_type":"msg","target":"group","payload":"x"}',
            b'{"msg_type":"msg","target":"group","msg":"binary"}',
            b"\xff\xfe",
            "[" * 2000,
        ]
        for frame in bad:
            await alice.socket.send(frame)
        await alice.echo()
        await bob.echo()
        *errors, _ = alice.heard
        assert len(errors) == len(bad)
        for error in errors:
            assert (error["cmd"], error["from_id"], error["to_id"]) == ("ERROR", "server", "a")
            assert (error["msg_type"], error["target"], error["version"]) == ("msg", "echo", "3")
            assert error["msg"] and error["payload"]["errors"]
        assert "wrap it as" in errors[2]["msg"]
        assert [message["msg"] for message in bob.heard] == ["fence"]


async def test_a_message_of_the_limit_is_routed_and_one_byte_more_closes(serve):
    server = serve(database="sqlite")
    async with Member(server, "alice", "g", "a") as alice:
        shell = '{"msg_type":"msg","target":"echo","msg":""}'
        text = shell.replace('"msg":""', '"msg":"' + "x" * (65_536 - len(shell)) + '"')
        await alice.socket.send(text)
        assert len((await alice.until(target="echo"))["msg"]) == 65_536 - len(shell)
        await alice.socket.send(text + " ")
        code, reason = await alice.closed()
        assert (code, "65536" in reason) == (1009, True)


async def test_over_the_rate_the_sender_is_told_each_time(serve):
    server = serve(database="sqlite", AETHER_MESSAGES_PER_S="2", RATE_LIMIT_RPM="1")
    async with Member(server, "alice", "g", "a") as alice, Member(server, "alice", "g", "a") as tab:
        for number in range(20):  # more than a slow sender is allowed meanwhile
            await alice.say("echo", f"{number}")
        await alice.many(20)
        told = [message["cmd"] for message in alice.heard]
        assert told[:2] == [None, None] and told.count("ERROR") >= 3
        error = next(message for message in alice.heard if message["cmd"])
        assert "2 messages a second" in error["msg"]
        assert 0 < error["payload"]["errors"][0]["retry_after_ms"] <= 500
        await tab.echo("each connection has its own")


@pytest.mark.postgres
async def test_coming_and_going_is_announced_where_it_is_asked_for(serve):
    first = serve(database="postgres", AETHER_ANNOUNCE_PRESENCE="on", NODE_LEASE_S="6")
    second = serve(beside=first)
    async with Member(first, "alice", "g", "a") as alice:
        async with Member(second, "bob", "g", "b") as bob:
            online = await alice.until(msg_type="presence", from_id="b")
            assert online["payload"] == {"status": "online"}
            assert (online["target"], online["group_id"]) == ("group", "g")
            async with Member(first, "bob", "g", "b") as tab, Member(first, "carol", "g", "c"):
                await tab.echo()
            async with Member(first, "root", "g", "r"):
                await bob.until(msg_type="presence", from_id="r")
            await bob.until(msg_type="presence", from_id="r", payload={"status": "offline"})
            second.kill()
        await alice.until(msg_type="presence", from_id="b", payload={"status": "offline"})
        about = [(m["from_id"], m["payload"]["status"]) for m in alice.heard]
        assert [one for one in about if one[0] == "b"] == [("b", "online"), ("b", "offline")]
        assert {one[0] for one in about} == {"b", "r"}, "not of another account, not of oneself"


@pytest.mark.postgres
async def test_a_message_by_rest_reaches_the_clients_of_every_process(serve):
    first = serve(database="postgres")
    second = serve(beside=first)
    headers = {"Authorization": f"Bearer {key_of('alice')}"}
    async with (
        Member(first, "bob", "a/b ü", "b:1") as here,
        Member(second, "root", "a/b ü", "r") as there,
        Member(second, "carol", "a/b ü", "b:1") as other,
        httpx.AsyncClient(base_url=first.url, headers=headers, trust_env=False, timeout=30) as http,
    ):
        said = {"msg": "to all", "from_id": "root", "group_id": "x", "target": "broadcast"}
        answer = await http.post("/api/groups/a%2Fb%20%C3%BC/messages/", json=said)
        assert answer.status_code == 202, answer.text
        for member in (here, there):
            assert await member.until(msg="to all") == answer.json()
        assert (answer.json()["from_id"], answer.json()["target"]) == ("server", "group")
        answer = await http.post("/api/clients/b:1/messages", json={"msg_type": "cmd", "cmd": "X"})
        assert await here.until(cmd="X") == answer.json()
        await http.post("/api/groups/a%2Fb%20%C3%BC/messages", json={"msg": "last"})
        await there.until(msg="last")
        assert [message["msg"] for message in there.heard] == ["to all", "last"]
        await other.echo()
        assert [message["msg"] for message in other.heard] == ["fence"]
        too_long = await http.post("/api/groups/g/messages/", json={"msg": "x" * 65_537})
        assert too_long.status_code == 413
        assert json.loads(too_long.text)["error"]["code"] == "TOO_LARGE"
