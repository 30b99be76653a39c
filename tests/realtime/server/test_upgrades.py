"""A head that asks for an upgrade, or for another protocol. Source: PROTOCOLS.md 0.3."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.realtime.server.answering import app, refused, with_headers
from tests.realtime.server.conftest import TEXT, UPGRADE, frame, head, until


async def test_frames_in_the_segment_of_the_handshake_are_not_lost(serve):
    served = await serve(app)
    peer = await served.peer()
    peer.upgrade(rest=frame(TEXT, b"first") + frame(TEXT, b"second") + frame(TEXT, b"third")[:4])
    assert (await peer.answer()).status == 101
    assert [await peer.text(), await peer.text()] == ["first", "second"]
    peer.send(frame(TEXT, b"third")[4:])
    assert await peer.text() == "third"


@pytest.mark.parametrize("value", ["h2c", "websocket2", "TLS/1.0", "h2c, websocket"])
async def test_another_upgrade_is_ignored(serve, value):
    served = await serve(app)
    peer = await served.peer()
    peer.request("/plain", Connection="Upgrade, HTTP2-Settings", Upgrade=value)
    answer = await peer.answer()
    assert answer.status == 200
    assert json.loads(answer.body)["path"] == "/plain"
    peer.request("/next")
    assert json.loads((await peer.answer()).body)["path"] == "/next"


@pytest.mark.parametrize("in_one", [True, False])
async def test_the_body_of_an_ignored_upgrade_is_no_second_request(serve, in_one):
    served = await serve(app)
    peer = await served.peer()
    body = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    extra = {"Connection": "Upgrade", "Upgrade": "h2c", "Content-Length": str(len(body))}
    first = head("POST", "/outer", {"Host": "a", **extra})
    rest = body + head("GET", "/after", {"Host": "a"})
    peer.send(first + rest if in_one else first)
    if not in_one:
        await until(lambda: served.scopes)
        peer.send(rest)
    said = json.loads((await peer.answer()).body)
    assert (said["path"], said["body"]) == ("/outer", body.decode())
    assert json.loads((await peer.answer()).body)["path"] == "/after"


async def test_a_head_behind_an_ignored_upgrade_has_its_limits(serve):
    served = await serve(app)
    peer = await served.peer()
    first = head("GET", "/first", {"Host": "a", "Connection": "Upgrade", "Upgrade": "h2c"})
    peer.send(first + with_headers(101))
    assert json.loads((await peer.answer()).body)["path"] == "/first"
    assert (await peer.answer()).status == 431


async def test_an_ignored_upgrade_may_close(serve):
    served = await serve(app)
    peer = await served.peer()
    peer.request("/last", Connection="close, Upgrade", Upgrade="h2c")
    assert json.loads((await peer.answer()).body)["path"] == "/last"
    assert await peer.ended() == b""


async def test_http_1_0_does_not_upgrade(serve):
    served = await serve(app)
    peer = await served.peer()
    peer.send(head("GET", "/ws", UPGRADE).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert (await peer.answer()).status == 200


async def test_the_connection_header_may_come_in_parts(serve):
    served = await serve(app)
    peer = await served.peer()
    peer.send(head("GET", "/ws", {**UPGRADE, "connection": "keep-alive"}))
    assert (await peer.answer()).status == 101


async def test_an_upgrade_with_a_body_gets_400(serve):
    await refused(serve, head("GET", "/ws", {**UPGRADE, "Content-Length": "3"}) + b"abc", 400)


async def test_an_upgrade_does_not_cut_a_response_in_two(serve):
    release = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        await app(scope, receive, send)

    served = await serve(slow)
    peer = await served.peer()
    peer.send(head("GET", "/1", {"Host": "a"}) + head("GET", "/ws", UPGRADE))
    await until(lambda: served.scopes)
    release.set()
    assert json.loads((await peer.answer()).body)["path"] == "/1"
    assert (await peer.answer()).status == 400
    assert len(served.scopes) == 1
