"""Who gets in, over real sockets: statuses, close codes and reasons."""

from __future__ import annotations

import pytest
from websockets.exceptions import InvalidStatus

from tests.doubles import until
from tests.live.client import Client
from tests.services.people import key_of

pytestmark = [pytest.mark.live, pytest.mark.own_server]


async def status_of(url, **options):
    with pytest.raises(InvalidStatus) as refused:
        async with Client(url, **options):
            pass
    response = refused.value.response
    return response.status_code, response.body.decode()


async def test_every_refusal_before_the_upgrade_has_its_status(serve):
    server = serve(ALLOWED_ORIGINS="https://allowed.example")
    base = server.ws_url.removesuffix("/ws")
    for path, status, words in [
        ("/nothing", 404, "no WebSocket answers"),
        ("/ws?token=x", 403, "token is not valid"),
        ("/nexus/ws", 401, "token is required"),
        ("/v1/sessions/ws/s/other", 404, "no WebSocket answers"),
        ("/ws/group/g/client/c", 404, "/v3/ws/group/"),
    ]:
        given, body = await status_of(base + path)
        assert (given, words in body) == (status, True), (path, body)
    assert (await status_of(server.ws_url, origin="https://evil.example"))[0] == 403
    headers = {"Host": "evil.example"}
    assert (await status_of(server.ws_url, additional_headers=headers))[0] == 400


async def test_allowed_own_and_absent_origins_pass(serve, join):
    server = serve(ALLOWED_ORIGINS="https://allowed.example")
    for origin in ("https://allowed.example", "HTTPS://ALLOWED.EXAMPLE", server.url, None):
        client = await join(server, options={"origin": origin})
        assert (await client.refused("health"))["message"] == "first request must be 'connect'"


async def test_nothing_is_sent_until_the_clients_first_frame(serve, join):
    client = await join(serve(CONNECT_TIMEOUT_S="0.5"))
    assert await client.closed() == (4010, "no connect in time")
    assert client.frames == []


async def test_a_frame_of_the_limit_is_read_and_one_byte_more_closes(serve, join):
    server = serve()
    client = await join(server)
    shell = '{"type":"req","id":"1","method":"x","params":{"a":""}}'
    filled = shell.replace('"a":""', '"a":"' + "x" * (524_288 - len(shell)) + '"')
    assert len(filled) == 524_288
    await client.socket.send(filled)
    assert (await client.answer("1"))["error"]["message"] == "first request must be 'connect'"
    await client.socket.send(filled + " ")
    code, reason = await client.closed()
    assert code == 1009
    assert "524288" in reason


async def test_bad_frames_are_told_and_the_socket_lives(serve, join):
    server = serve()
    client = await join(server)
    for text in ("nonsense", "[]", '{"type":"res"}', '{"type":"req","id":7}', b"\xff", "[" * 1000):
        await client.socket.send(text)
    await client.frame(lambda f: len(client.frames) == 6)
    assert {frame["id"] for frame in client.frames} == {""}
    assert {frame["error"]["code"] for frame in client.frames} == {"INVALID_REQUEST"}
    await client.ask("connect", token=server.token, user_id="alice")


async def test_a_wrong_token_is_told_and_may_be_corrected(serve, join):
    server = serve()
    client = await join(server)
    refusal = await client.refused("connect", token="wrong", user_id="alice")
    assert refusal == {
        "code": "UNAUTHORIZED",
        "message": "permission denied: valid token or active pairing required",
    }
    welcome = await client.ask("connect", token=server.token, user_id="system")
    assert (welcome["role"], welcome["is_owner"]) == ("owner", True)


async def test_guessing_is_slowed_down_on_loopback_too(serve, join):
    server = serve(database="sqlite")
    guesser = await join(server)
    codes = [(await guesser.refused("connect", token=f"guess-{n}"))["code"] for n in range(20)]
    assert set(codes) == {"UNAUTHORIZED"}
    await guesser.guess_on()
    assert (await guesser.refused("connect", token=server.token))["retryAfterMs"] > 0
    assert (await guesser.ask("connect", user_id="alice"))["status"] == "pending_pairing"


async def test_the_authorization_header_stands_in_for_the_token(serve, join):
    server = serve()
    headers = {"Authorization": f"Bearer {server.token}"}
    client = await join(server, options={"additional_headers": headers}, user_id="alice")
    assert (await client.ask("status"))["clients"] == 1


async def test_the_rate_limit_drops_in_silence_or_answers(serve, join):
    quiet = serve(RATE_LIMIT_RPM="1", RATE_LIMIT_BURST="2")
    client = await join(quiet, token=quiet.token, user_id="alice")
    numbers = [await client.send("health") for _ in range(5)]
    await client.answer(numbers[1])
    pong = await client.socket.ping()
    await pong
    answered = [f["id"] for f in client.frames if f["type"] == "res"]
    assert answered[-2:] == numbers[:2], "burst 2 as alice, and pings are free"
    await until(lambda: "security.rate_limited" in quiet.log())
    loud = serve(RATE_LIMIT_RPM="1", RATE_LIMIT_BURST="1", RATE_LIMIT_REPLY="error")
    client = await join(loud, token=loud.token, user_id="alice")
    await client.ask("health")
    refusal = await client.refused("health")
    assert refusal["code"] == "RESOURCE_EXHAUSTED"
    assert refusal["retryable"] is True
    assert 0 < refusal["retryAfterMs"] <= 60_000


async def test_no_secret_is_ever_logged(serve, join):
    server = serve(LOG_FORMAT="json")
    key = key_of("alice")
    client = await join(server, token=key)
    await client.ask("chat.send", message="the payload of alice")
    browser = await join(server)
    pending = await browser.ask("connect", user_id="bob")
    await browser.refused("connect", token="a-wrong-token-value")
    await status_of(server.ws_url + "?token=a-query-token", origin="https://evil.example")
    log = server.log()
    assert '"event": "connected"' in log
    for secret in (
        key,
        server.token,
        pending["sender_id"],
        pending["pairing_code"],
        "a-wrong-token-value",
        "a-query-token",
        "the payload of alice",
    ):
        assert secret not in log
