"""The request head: deadlines, doubles, smuggling. Source: PROTOCOLS.md 0.3."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

import pytest

from tests.realtime.server.answering import app, refused
from tests.realtime.server.conftest import UPGRADE, head, until

FAST = {"head_deadline_s": 0.5}


# --- deadlines ---


async def test_a_connection_without_a_byte_is_closed_without_a_word(serve):
    served = await serve(app, http=FAST)
    peer = await served.peer()
    began = time.monotonic()
    assert await peer.ended() == b""
    assert 0.45 < time.monotonic() - began < 10


@pytest.mark.parametrize("part", [b"G", b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r\n", b"GET /\r\n"])
async def test_an_unfinished_head_gets_408(serve, part):
    served = await serve(app, http=FAST)
    peer = await served.peer()
    began = time.monotonic()
    peer.send(part)
    answer = await peer.answer()
    assert 0.45 < time.monotonic() - began < 10
    assert answer.status == 408
    assert answer.error["code"] == "TIMEOUT"
    assert "0.5 seconds" in answer.error["message"]
    assert await peer.ended() == b""


async def test_a_head_that_trickles_in_does_not_buy_time(serve):
    served = await serve(app, http=FAST)
    peer = await served.peer()
    began = time.monotonic()
    waiting = asyncio.create_task(peer.answer())
    for byte in b"GET / HTTP/1.1\r\nX: " + b"y" * 1000:
        if waiting.done():
            break
        peer.send(bytes([byte]))
        await asyncio.wait([waiting], timeout=0.05)
    assert (await waiting).status == 408
    assert time.monotonic() - began < 10


async def test_the_second_request_has_a_deadline_of_its_own(serve):
    served = await serve(app, http=FAST)
    peer = await served.peer()
    peer.request("/1")
    assert (await peer.answer()).status == 200
    assert await peer.is_quiet(0.8), "keep-alive is longer than the head's deadline"
    began = time.monotonic()
    peer.send(b"GET /2 HT")
    assert (await peer.answer()).status == 408
    assert time.monotonic() - began > 0.45


async def test_an_idle_connection_is_closed_after_keep_alive(serve):
    served = await serve(app, http=FAST, timeout_keep_alive=0.2)
    peer = await served.peer()
    peer.request()
    assert (await peer.answer()).status == 200
    began = time.monotonic()
    assert await peer.ended() == b""
    assert 0.15 < time.monotonic() - began < 10


async def test_a_head_behind_a_slow_response_is_late_only_after_it(serve):
    release = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        await app(scope, receive, send)

    served = await serve(slow, http=FAST)
    peer = await served.peer()
    peer.request("/1")
    await until(lambda: served.scopes)
    peer.send(b"GET /2 HTTP/1.1\r\n")
    assert await peer.is_quiet(0.8)
    release.set()
    assert json.loads((await peer.answer()).body)["path"] == "/1"
    assert (await peer.answer()).status == 408


async def test_the_time_of_a_slow_response_is_not_taken_from_the_next_head(serve):
    release = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        await app(scope, receive, send)

    served = await serve(slow, http=FAST)
    peer = await served.peer()
    peer.request("/1")
    await until(lambda: served.scopes)
    peer.send(b"GET /2 HTTP/1.1\r\n")
    assert await peer.is_quiet(0.8)
    release.set()
    assert json.loads((await peer.answer()).body)["path"] == "/1"
    peer.send(b"Host: a\r\n\r\n")
    assert json.loads((await peer.answer()).body)["path"] == "/2"


async def test_a_slow_body_is_not_a_late_head(serve):
    served = await serve(app, http=FAST)
    peer = await served.peer()
    peer.request(method="POST", Content_Length="4")
    assert await peer.is_quiet(0.8)
    peer.send(b"late")
    assert json.loads((await peer.answer()).body)["body"] == "late"


# --- what may stand in a head ---


@pytest.mark.parametrize("name", ["Origin", "Authorization", "Host"])
async def test_two_of_a_header_that_decides_get_400(serve, name):
    for upgrade in ({}, UPGRADE):
        headers = {**upgrade, "Host": "chat.example", name: "one", name.lower(): "two"}
        message = await refused(serve, head("GET", "/ws", headers), 400)
        assert f"two {name.lower()} headers; one is allowed" in message


async def test_headers_with_an_underscore_never_arrive(serve):
    served = await serve(app)
    peer = await served.peer()
    peer.send(head("GET", "/", {"Host": "a", "X_Forwarded_For": "6.6.6.6", "X-Fine": "1"}))
    assert json.loads((await peer.answer()).body)["headers"] == [["host", "a"], ["x-fine", "1"]]
    peer = await served.peer()
    await peer.open(**{"X_Plain": "1"})
    peer.send(b"")
    second = await served.peer()
    second.send(head("GET", "/ws", {**UPGRADE, "X_Forwarded_For": "6.6.6.6"}))
    assert (await second.answer()).status == 101
    names = [name for name, _ in served.scopes[-1]["headers"]]
    assert b"upgrade" in names
    assert not any(b"_" in name for name in names)


CONTROL = [*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F, 0x85]


@pytest.mark.parametrize("byte", CONTROL, ids=hex)
async def test_a_control_byte_in_a_header_value_gets_400(serve, byte):
    data = b"GET / HTTP/1.1\r\nHost: a\r\nX: a%cb\r\n\r\n" % byte
    assert "header value" in await refused(serve, data, 400)


@pytest.mark.parametrize("value", ["Å", "a\tb", "日本"])
async def test_letters_and_tabs_in_a_header_value_pass(serve, value):
    served = await serve(app)
    peer = await served.peer()
    peer.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % value.encode())
    headers = dict(json.loads((await peer.answer()).body)["headers"])
    assert headers["x"].encode("latin-1").decode() == value


SMUGGLED = {
    "both": ["Content-Length: 3", "Transfer-Encoding: chunked"],
    "both, the other way round": ["Transfer-Encoding: chunked", "Content-Length: 3"],
    "two lengths": ["Content-Length: 3", "Content-Length: 5"],
    "length list": ["Content-Length: 3, 5"],
    "negative": ["Content-Length: -3"],
    "unknown coding": ["Transfer-Encoding: xchunked"],
    "two codings": ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
    "list of codings": ["Transfer-Encoding: gzip, chunked"],
    "space before the colon": ["Transfer-Encoding : chunked"],
    "folded": ["X: a", " Transfer-Encoding: chunked"],
    "bare line end": ["X: a\nTransfer-Encoding: chunked"],
    "bare return": ["X: a\rTransfer-Encoding: chunked"],
}


@pytest.mark.parametrize("headers", SMUGGLED.values(), ids=SMUGGLED)
async def test_a_request_with_two_readings_gets_400(serve, headers):
    lines = ["POST / HTTP/1.1", "Host: a", *headers, "", "0\r\n\r\n"]
    message = await refused(serve, "\r\n".join(lines).encode(), 400)
    assert ";" in message, "it says what is allowed"


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/3.7\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET /a\x00b HTTP/1.1\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"\x81\x05hello",
    ],
)
async def test_garbage_gets_400(serve, data):
    await refused(serve, data, 400)


async def test_connect_gets_405(serve):
    await refused(serve, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405)


async def test_a_bad_request_behind_an_unanswered_one_waits_for_its_response(serve):
    release = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        start = {"type": "http.response.start", "status": 200}
        await send({**start, "headers": [(b"content-length", b"2")]})
        await release.wait()
        await send({"type": "http.response.body", "body": b"ok"})

    served = await serve(slow)
    peer = await served.peer()
    peer.send(head("GET", "/", {"Host": "a"}) + b"nonsense\r\n\r\n")
    first = await asyncio.wait_for(peer.reader.readuntil(b"\r\n\r\n"), 30)
    assert first.startswith(b"HTTP/1.1 200")
    assert await peer.is_quiet(0.1)
    release.set()
    assert await peer.read(2) == b"ok"
    assert (await peer.answer()).status == 400
    assert await peer.ended() == b""


async def test_a_bad_body_ends_the_request_it_belongs_to(serve):
    served = await serve(app)
    peer = await served.peer()
    peer.request(method="POST", Transfer_Encoding="chunked")
    await until(lambda: served.scopes)
    peer.send(b"not a number\r\n")
    answer = await peer.answer()
    assert answer.status == 400
    assert await peer.ended() == b""
    await until(lambda: not served.state.tasks)  # the application was told


async def test_an_answer_that_comes_after_the_refusal_is_dropped(serve):
    release = asyncio.Event()

    async def late(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    served = await serve(late)
    peer = await served.peer()
    peer.request(method="POST", Transfer_Encoding="chunked")
    await until(lambda: served.scopes)
    peer.send(b"not a number\r\n")
    assert (await peer.answer()).status == 400
    release.set()
    await until(lambda: not served.state.tasks)
    assert await peer.ended() == b""


async def test_a_trailer_does_not_change_the_headers(serve):
    seen: list[Any] = []

    async def late(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        seen.extend(scope["headers"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    served = await serve(late)
    peer = await served.peer()
    peer.request(method="POST", Transfer_Encoding="chunked")
    peer.send(b"3\r\nabc\r\n0\r\nAuthorization: Bearer stolen\r\n\r\n")
    assert (await peer.answer()).status == 204
    assert [name for name, _ in seen] == [b"host", b"transfer-encoding"]


# --- logs ---


async def test_no_query_string_is_logged(serve, caplog):
    for name in (None, "uvicorn.access", "uvicorn.error"):
        caplog.set_level(logging.DEBUG, name)
    served = await serve(app)
    peer = await served.peer()
    peer.request("/page?token=s3cret")
    assert (await peer.answer()).status == 200
    other = await served.peer()
    other.send(b"GET /x?token=s3cret HTTP/1.1\r\nX: \x00\r\n\r\n")
    assert (await other.answer()).status == 400
    assert "s3cret" not in caplog.text
