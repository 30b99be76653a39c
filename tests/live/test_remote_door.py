"""002 at the door, over real sockets: it accepts, then closes. Source: PROTOCOLS.md 0.2, 3.2, 6."""

from __future__ import annotations

import json
import time

import httpx
import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.live.made import a_key, a_session, token_of
from tests.live.viewer import Viewer, bearer, url_of
from tests.live.worker import Worker
from tests.services.people import key_of

pytestmark = [pytest.mark.live, pytest.mark.own_server]

ORIGIN = "https://allowed.example"
REVOKE = """
from accounts.models import ApiKey
from accounts.services import keys
from realtime.core.principal import Principal
root = Principal(id="root", role="admin")
keys.revoke(principal=root, key_id=ApiKey.objects.get(prefix={prefix!r}).pk)
"""


async def code(server, session, token="", headers=None, **query):
    async with Viewer(server, session, token, headers, **query) as viewer:
        return (await viewer.closed())[0]


async def enters(server, session, token="", headers=None, **query):
    """Whether it is let in: an answer comes that only who is in gets."""
    async with Viewer(server, session, token, headers, **query) as viewer:
        await viewer.entered()
        return viewer.socket.close_code is None


async def test_who_comes_in_and_who_is_closed_with_which_code(serve):
    server = serve(ALLOWED_ORIGINS=ORIGIN)
    session = a_session(server)
    alice, jwt = key_of("alice"), token_of(server, "alice")
    for token, query in [
        (alice, {}),
        (jwt, {}),
        (key_of("root"), {}),
        (alice, {"organization_uuid": "default"}),
        (jwt, {"organization_uuid": "default", "replay": "true"}),
        (a_key(server, "operator.read"), {}),
    ]:
        assert await enters(server, session, token, **query), query
    assert await enters(server, "s", alice)
    assert await enters(server, session, alice, {"x-organization-uuid": "default"})
    for token, query in [
        ("", {}),
        ("wrong", {}),
        (jwt[:-3], {}),
        (server.token, {}),
        (a_key(server, "sessions.work"), {}),
        (alice, {"organization_uuid": "other"}),
        (alice, {"organization_uuid": "0193a5b0-7000-7000-8000-00000000ffff"}),
        (jwt, {"organization_uuid": "other"}),
        (jwt, {"organization_uuid": "nowhere"}),
    ]:
        assert await code(server, session, token, **query) == 4003, (token, query)
    assert await code(server, session, alice, {"x-organization-uuid": "other"}) == 4003
    for name, stranger in [
        ("session_nobody_has", alice),
        (session, key_of("bob")),
        (session, key_of("carol")),
        ("s", key_of("bob")),
        ("s", key_of("carol")),
    ]:
        assert await code(server, name, stranger) == 4001, name


async def test_a_cookie_opens_for_an_allowed_origin_alone(serve):
    server = serve(ALLOWED_ORIGINS=ORIGIN)
    session = a_session(server)
    cookie = {"Cookie": f"sessionKey={token_of(server, 'alice')}"}
    assert await enters(server, session, headers=cookie | {"Origin": ORIGIN})
    for headers in (cookie, cookie | {"Origin": "https://elsewhere.example"}):
        with pytest.raises(InvalidStatus) as refused:
            await enters(server, session, headers=headers)
        assert refused.value.response.status_code == 403


async def test_a_session_that_is_not_there_is_4001_four_times_a_minute_then_4003(serve):
    server = serve()
    session = a_session(server)
    bob = key_of("bob")
    codes = [await code(server, session, bob) for _ in range(6)]
    assert codes == [4001, 4001, 4001, 4001, 4003, 4003]
    assert await code(server, "another", bob) == 4001
    assert await enters(server, session, key_of("alice"))


@pytest.mark.parametrize(("part", "scope"), [(Viewer, "operator.read"), (Worker, "sessions.work")])
async def test_a_key_that_is_revoked_closes_with_4003(serve, part, scope):
    server = serve()
    session = a_session(server)
    async with httpx.AsyncClient(
        base_url=server.url, headers=bearer(key_of("alice")), timeout=30
    ) as http:
        body = {"name": "short", "scopes": [scope]}
        made = (await http.post("/api/auth/keys/", json=body)).json()
        async with part(server, session, made["key"]) as one:
            await one.entered()
            await http.delete(f"/api/auth/keys/{made['id']}/")
            assert (await one.closed())[0] == 4003
        async with part(server, session, made["key"]) as again:
            assert (await again.closed())[0] == 4003


async def test_a_log_out_closes_with_4003(serve):
    server = serve()
    session = a_session(server)
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        pair = json.loads(server.run("issue_token", "alice", "--json"))
        async with Viewer(server, session, pair["access"]) as viewer:
            await viewer.entered()
            await http.post("/api/auth/token/revoke/", json={"refresh": pair["refresh"]})
            assert (await viewer.closed())[0] == 4003
        assert await code(server, session, pair["access"]) == 4003


async def test_what_has_expired_closes_with_4003(serve):
    server = serve()
    session = a_session(server)
    secret = server.environ["SECRET_KEY"]
    claims = jwt.decode(token_of(server, "alice"), options={"verify_signature": False})
    assert await enters(server, session, jwt.encode(claims, secret, algorithm="HS256"))
    over = {**claims, "exp": int(time.time()) - 60}
    assert await code(server, session, jwt.encode(over, secret, algorithm="HS256")) == 4003
    soon = {**claims, "exp": int(time.time())}  # what is left of it is its leeway
    async with Viewer(server, session, jwt.encode(soon, secret, algorithm="HS256")) as viewer:
        assert (await viewer.closed())[0] == 4003
    for part, scope in ((Viewer, "operator.read"), (Worker, "sessions.work")):
        key = a_key(server, scope, "alice", "--expires-in", "2s")
        async with part(server, session, key) as one:
            assert (await one.closed())[0] == 4003
        async with part(server, session, key) as late:
            assert (await late.closed())[0] == 4003


async def test_who_may_only_read_says_nothing(serve):
    server = serve()
    session = a_session(server)
    async with Viewer(server, session, a_key(server, "operator.read")) as viewer:
        await viewer.say("hello", uuid="u-1")
        (refusal,) = await viewer.of("control_response")
        assert refusal["response"]["subtype"] == "error"
        assert refusal["response"]["request_id"] == "u-1"
        assert "permission denied" in refusal["response"]["error"]


async def test_a_frame_over_a_mebibyte_closes_with_1009(serve):
    server = serve()
    session = a_session(server)
    async with Viewer(server, session, key_of("alice")) as viewer:
        await viewer.say("x" * (1024 * 1024), uuid="u-1")
        assert (await viewer.closed())[0] == 1009


async def test_a_path_that_is_none_of_the_protocol_is_404(serve):
    server = serve()
    for url in (url_of(server, "s", "subscribed"), url_of(server, "\x00", "subscribe")):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url, proxy=None):
                pass
        assert refused.value.response.status_code == 404


async def test_a_pages_pass_opens_the_socket_and_ends_with_the_key_behind_it(serve):
    server = serve()
    session = a_session(server)
    key = a_key(server, "operator.read")
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as page:
        answer = await page.post(f"/v1/sessions/{session}/pass", headers=bearer(key))
        assert answer.status_code == 204
        (cookie,) = page.cookies.jar
    shown = {"Cookie": f"sessionKey={cookie.value}", "Origin": server.url}
    with pytest.raises(InvalidStatus):
        await code(server, session, headers={**shown, "Origin": "https://evil.example"})
    other = a_session(server, "other", "bob")
    assert await code(server, other, headers=shown) == 4001
    async with Viewer(server, session, headers=shown) as viewer:
        await viewer.initialized()
        server.run("shell", "--no-imports", "-c", REVOKE.format(prefix=key[4:12]))
        assert (await viewer.closed())[0] == 4003
    assert await code(server, session, headers=shown) == 4003
