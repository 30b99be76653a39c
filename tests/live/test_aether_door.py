"""003 at the door, over real sockets. Source: PROTOCOLS.md 0.1, 0.2, 4.1, 4.2, 6."""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.live.line import PATIENCE_S
from tests.live.made import token_of
from tests.live.member import Member, url_of
from tests.services.people import key_of

pytestmark = [pytest.mark.live, pytest.mark.own_server]

NOT_THEIRS = "x_account_id is not an account that these credentials may use"
IN_USE = "this client id is in use by somebody else"


async def knock(url, **headers):
    """What the door answers: (status, code, message); (101, "", "") when it opens."""
    options = {"origin": headers.pop("origin")} if "origin" in headers else {}
    try:
        async with connect(url, additional_headers=headers, proxy=None, **options):
            return 101, "", ""
    except InvalidStatus as refused:
        response = refused.response
        assert response.headers["Content-Type"] == "application/json"
        error = json.loads(response.body)["error"]
        return response.status_code, error["code"], error["message"]


async def test_every_way_in_and_every_refusal_has_its_status_and_its_body(serve):
    server = serve(database="sqlite", ALLOWED_ORIGINS="https://allowed.example")
    alice, carol, jwt = key_of("alice"), key_of("carol"), token_of(server, "alice")
    missing = (403, "UNAUTHORIZED", "api_key or jwt is required")
    bad_key = (403, "UNAUTHORIZED", "api_key is not valid")
    bad_jwt = (403, "UNAUTHORIZED", "token is not valid")
    not_theirs = (403, "UNAUTHORIZED", NOT_THEIRS)
    twice = (403, "UNAUTHORIZED", "jwt is given twice, with different values")
    enters = (101, "", "")
    for query, headers, answer in [
        ({}, {}, missing),
        ({"api_key": "", "jwt": "", "x_account_id": ""}, {}, missing),
        ({"x_account_id": "default"}, {}, missing),
        ({"api_key": "wrong"}, {}, bad_key),
        ({"api_key": server.token}, {}, bad_key),
        ({"api_key": alice[:-1] + "!"}, {}, bad_key),
        ({"jwt": "wrong"}, {}, bad_jwt),
        ({"jwt": jwt[:-2]}, {}, bad_jwt),
        ({"api_key": alice, "jwt": "wrong"}, {}, bad_jwt),
        ({"api_key": "wrong", "jwt": jwt}, {}, bad_key),
        ({"jwt": jwt}, {"Authorization": "Bearer other"}, twice),
        ({"api_key": alice, "x_account_id": "other"}, {}, not_theirs),
        ({"api_key": alice, "x_account_id": "nowhere"}, {}, not_theirs),
        ({"api_key": alice, "x_account_id": "\x00"}, {}, not_theirs),
        ({"jwt": jwt, "x_account_id": "other"}, {}, not_theirs),
        ({"jwt": jwt, "x_account_id": "nowhere"}, {}, not_theirs),
        ({"api_key": carol, "jwt": jwt}, {}, not_theirs),
        ({"api_key": carol}, {"X-Account-Id": "default"}, not_theirs),
        ({"api_key": alice, "jwt": "", "x_account_id": ""}, {}, enters),
        ({"jwt": jwt}, {}, enters),
        ({"api_key": alice, "jwt": jwt, "x_account_id": "default"}, {}, enters),
        ({}, {"X-API-Key": alice}, enters),
        ({}, {"Authorization": f"Bearer {alice}"}, enters),
        ({}, {"Authorization": f"Bearer {jwt}", "X-Account-Id": "default"}, enters),
        ({"api_key": carol, "x_account_id": "other"}, {}, enters),
        ({"api_key": alice}, {"origin": "https://allowed.example"}, enters),
        ({"api_key": alice}, {"origin": server.url}, enters),
    ]:
        assert await knock(url_of(server, "g", "c", **query), **headers) == answer, query
    url = url_of(server, "g", "c", api_key=alice)
    assert (await knock(url, origin="https://evil.example"))[:2] == (403, "FORBIDDEN")
    assert (await knock(url, Host="evil.example"))[:2] == (400, "INVALID_REQUEST")
    log = server.log()
    for secret in (alice, carol, jwt, jwt[:-2], "api_key=wrong"):
        assert secret not in log


async def test_ids_are_decoded_once_and_what_is_none_is_not_found(serve):
    server = serve(database="sqlite")
    ids = [
        "-_.:@",
        "a%20b",
        "a b",
        "50%",
        "ünïcødé 💙",
        "☃" * 128,
        "1738266242123",
        "a/b",
        "+",
        "..",
    ]
    for name in ids:
        async with Member(server, "alice", name, name) as member:
            said = await member.echo()
            assert (said["group_id"], said["from_id"]) == (name, name)
            await member.say("direct", "self", to_id=name)
            assert (await member.until(msg="self"))["to_id"] == name
    slash = url_of(server, "g", "c") + f"/?api_key={key_of('alice')}"
    assert (await knock(slash))[0] == 101
    base = server.ws_url.removesuffix("/ws")
    for path, words in [
        ("/v3/ws/group/" + "x" * 129 + "/client/c", "group_id takes 1 to 128 characters"),
        ("/v3/ws/group/g/client/" + "%E2%98%83" * 129, "client_id takes 1 to 128 characters"),
        ("/v3/ws/group/g/client/a%0Ab", "client_id takes no control characters"),
        ("/v3/ws/group/g/client/%00", "client_id takes no control characters"),
        ("/v3/ws/group/g/client/%FF", "client_id is not UTF-8"),
        ("/v3/ws/group/g/client/", "no WebSocket answers"),
        ("/v3/ws/group/g", "no WebSocket answers"),
        ("/ws/group/g/client/c", "/v3/ws/group/{group_id}/client/{client_id}"),
        ("/ws_redis/group/g/client/c/", "/v3/ws/group/{group_id}/client/{client_id}"),
    ]:
        status, code, message = await knock(f"{base}{path}?api_key={key_of('alice')}")
        assert (status, code, words in message) == (404, "NOT_FOUND", True), path


async def test_a_client_id_belongs_to_who_is_connected_with_it(serve):
    server = serve(database="sqlite")

    async def bob(client="laptop", group="g"):
        return await knock(url_of(server, group, client, api_key=key_of("bob")))

    async with Member(server, "alice", "g", "laptop") as first:
        for group in ("g", "elsewhere"):
            assert await bob(group=group) == (403, "FORBIDDEN", IN_USE)
        assert (await bob(client="Laptop"))[0] == 101
        async with (
            Member(server, "alice", "g", "laptop") as tab,
            Member(server, "carol", "g", "laptop") as other,
        ):
            await first.say("direct", "both tabs", to_id="laptop")
            for one in (first, tab):
                await one.until(msg="both tabs")
            await other.echo()
            assert [m["msg"] for m in other.heard] == ["fence"]
        assert (await bob())[0] == 403, "one tab is left"
        await first.echo("undisturbed")
    async with asyncio.timeout(PATIENCE_S):
        while (await bob())[0] != 101:
            continue


async def test_where_no_key_is_required_guests_come_in_and_what_is_shown_must_be_valid(serve):
    server = serve(database="sqlite", AETHER_REQUIRE_API_KEY="off")
    async with connect(url_of(server, "g", "visitor"), proxy=None) as guest:
        await guest.send('{"msg_type":"msg","target":"group","msg":"hi"}')
        assert json.loads(await guest.recv())["from_id"] == "visitor"
        await guest.send('{"msg_type":"msg","target":"broadcast"}')
        assert json.loads(await guest.recv())["cmd"] == "ERROR"
        taken = url_of(server, "g", "visitor", api_key=key_of("alice"))
        assert await knock(taken) == (403, "FORBIDDEN", IN_USE)
    assert (await knock(url_of(server, "g", "c", api_key="wrong")))[0] == 403
    assert (await knock(url_of(server, "g", "c", jwt="wrong")))[0] == 403
    for account, status in [("default", 101), ("other", 403), ("nowhere", 403)]:
        assert (await knock(url_of(server, "g", "c", x_account_id=account)))[0] == status


async def test_guessing_keys_is_slowed_down_before_the_upgrade(serve):
    server = serve(database="sqlite")
    url = url_of(server, "g", "c", api_key="guess")
    assert [(await knock(url))[0] for _ in range(20)] == [403] * 20
    async with asyncio.timeout(PATIENCE_S):
        while (await knock(url))[0] != 429:  # one more is allowed every six seconds
            continue
    assert (await knock(url_of(server, "g", "c")))[0] == 403, "who guesses nothing is told why"


async def test_what_ends_the_credentials_ends_the_socket_with_words_and_code(serve):
    server = serve(database="sqlite", DRAIN_S="2")
    jwt = token_of(server, "alice")
    async with (
        Member(server, "alice", "g", "keyed") as keyed,
        Member(server, "bob", "g", "stays") as stays,
        Member(server, "alice", "g", "both") as both,
    ):
        both.url = url_of(server, "g", "both2", api_key=key_of("root"), jwt=jwt)
        async with connect(both.url, proxy=None) as visa:
            server.run(
                "shell",
                "-c",
                "from accounts.models import ApiKey\n"
                "from accounts.services import journal, revocation\n"
                "for name in ('alice', 'root'):\n"
                "    key = ApiKey.objects.get(user__username=name)\n"
                "    revocation.key(principal=journal.command_line(), key=key)",
            )
            for member in (keyed, both):
                assert await member.closed() == (4003, "access was revoked")
                words = await member.until(cmd="ERROR", from_id="server")
                assert words["msg"] == "access was revoked"
            await asyncio.wait_for(visa.wait_closed(), PATIENCE_S)
            assert visa.close_code == 4003, "it came in with the key of root, too"
        ended = asyncio.create_task(asyncio.to_thread(server.terminate))
        assert await stays.closed() == (1012, "server restarting")
        assert await ended == 0
