"""`serve` wears the guards of `realtime/server`: head limits, deadlines, body sizes."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from tests.live.line import SOON_S
from tests.services.people import key_of

pytestmark = [pytest.mark.live, pytest.mark.own_server]

UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


async def answer_to(server, head: str, within_s: float = 30.0) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(head.encode("latin-1"))
        return (await asyncio.wait_for(reader.readline(), within_s)).decode()
    finally:
        writer.close()


async def test_a_request_head_out_of_bounds_is_answered_at_once(serve):
    server = serve(database="sqlite")
    for extra, status in [
        ("", " 101 "),
        ("X-Long: " + "x" * 9000 + "\r\n", " 431 "),
        ("".join(f"X-{n}: 1\r\n" for n in range(200)), " 431 "),
        ("Authorization: Bearer a\r\nAuthorization: Bearer b\r\n", " 400 "),
        ("Origin: http://a\r\nOrigin: http://b\r\n", " 400 "),
        ("Host: other\r\n", " 400 "),
    ]:
        assert status in await answer_to(server, UPGRADE + extra + "\r\n"), extra[:40]


async def test_a_half_sent_head_has_five_seconds(serve):
    server = serve(database="sqlite")
    began = time.monotonic()
    assert " 408 " in await answer_to(server, UPGRADE)
    assert 4 < time.monotonic() - began < 5 + SOON_S


async def test_an_over_long_body_is_stopped_before_django_sees_it(serve):
    server = serve(database="sqlite", HTTP_MAX_BODY_BYTES="1024")
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:

        async def chunks():
            for _ in range(10):
                yield b"x" * 500

        for body in (b"x" * 1025, chunks()):
            answer = await http.post("/api/auth/token/", content=body)
            assert answer.status_code == 413
            assert answer.json()["error"]["code"]


async def test_connections_are_listed_to_administrators_and_ended_by_them(serve, join):
    server = serve(database="sqlite")
    alice, bob = await join(server, token=key_of("alice")), await join(server, token=key_of("bob"))
    await join(server, token=key_of("carol"))

    def http(name):
        headers = {"Authorization": f"Bearer {key_of(name)}"}
        return httpx.AsyncClient(base_url=server.url, headers=headers, timeout=30)

    async with http("root") as root, http("bob") as stranger:
        rows = (await root.get("/api/connections/")).json()["results"]
        assert {(row["user"], row["protocol"]) for row in rows} == {
            ("alice", "goclaw"),
            ("bob", "goclaw"),
        }, "another account's are not there"
        (row,) = [row for row in rows if row["user"] == "alice"]
        end = f"/api/connections/{row['id']}/disconnect/"
        assert (await stranger.post(end)).status_code == 403
        assert (await root.post(end)).status_code < 300
    assert (await alice.closed(within_s=SOON_S))[0] == 4003
    assert await bob.ask("status")
