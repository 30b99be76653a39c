"""How large a request head may be. Source: PROTOCOLS.md 0.3."""

from __future__ import annotations

import json

import pytest

from tests.realtime.server.answering import app, refused, with_headers
from tests.realtime.server.conftest import UPGRADE, head, until

LINE = 8 * 1024


def request_line(size: int) -> bytes:
    path = "/" + "a" * (size - len("GET / HTTP/1.1\r\n"))
    return head("GET", path, {"Host": "chat.example"})


def with_header_line(size: int) -> bytes:
    return head("GET", "/", {"X-Long": "y" * (size - len("X-Long: \r\n"))})


@pytest.mark.parametrize(
    "data", [request_line(LINE), with_header_line(LINE), with_headers(100)], ids=len
)
async def test_the_largest_head_passes(serve, data):
    served = await serve(app)
    peer = await served.peer()
    peer.send(data)
    assert (await peer.answer()).status == 200


@pytest.mark.parametrize("make", [request_line, with_header_line], ids=lambda make: make.__name__)
@pytest.mark.parametrize("sent", ["whole", "unfinished", "in pieces"])
async def test_a_line_over_8_kib_gets_431_at_once(serve, make, sent):
    data = make(LINE + 1)
    if sent == "unfinished":
        data = data[: LINE + 100 if make is request_line else -4].rstrip(b"\r\n")
        data = data if make is request_line else make(LINE + 100)[:-4]
    if sent == "in pieces":
        served = await serve(app)
        peer = await served.peer()
        for start in range(0, len(data) - 4, 1000):
            peer.send(data[start : start + 1000])
            await peer.writer.drain()
            await peer.is_quiet(0.002)
        answer = await peer.answer()
        assert (answer.status, answer.error["code"]) == (431, "HEADERS_TOO_LARGE")
        return
    assert "8192" in await refused(serve, data, 431)


async def test_a_complete_long_line_is_noticed_before_the_next_one_begins(serve):
    data = with_header_line(LINE + 300)[:-2]  # the line has ended, the head has not
    assert "8192" in await refused(serve, data, 431)


async def test_101_headers_get_431(serve):
    assert "100" in await refused(serve, with_headers(101), 431)


@pytest.mark.parametrize("whole", [True, False])
async def test_a_head_over_32_kib_gets_431(serve, whole):
    headers = {f"X-{number}": "y" * 7000 for number in range(5)}
    data = head("GET", "/", headers)
    assert "32768" in await refused(serve, data if whole else data[:-2], 431)


async def test_an_upgrade_over_the_limits_does_not_hang(serve):
    for headers in ({"X": "y" * 9000}, {f"X-{number}": "y" for number in range(200)}):
        await refused(serve, head("GET", "/ws", {**UPGRADE, **headers}), 431)
    await refused(serve, head("GET", "/ws?" + "a" * 9000, UPGRADE), 431)


async def test_a_refusal_reaches_a_peer_that_is_still_sending(serve):
    served = await serve(app)
    peer = await served.peer()
    peer.send(b"GET / HTTP/1.1\r\nX: " + b"y" * 4_000_000)
    assert (await peer.answer()).status == 431


async def test_a_refused_peer_that_stays_is_cut(serve):
    served = await serve(app, http={"linger_s": 0.2})
    peer = await served.peer()
    peer.send(b"nonsense\r\n\r\n")
    assert (await peer.answer()).status == 400
    await until(lambda: not served.state.connections)


async def test_pipelined_requests_are_each_measured_alone(serve):
    served = await serve(app)
    peer = await served.peer()
    one = head("GET", "/", {f"X-{number}": "y" * 2000 for number in range(10)})
    peer.send(one * 4 + one[:-2])
    for _ in range(4):
        assert (await peer.answer()).status == 200
    peer.send(b"\r\n")
    assert (await peer.answer()).status == 200


async def test_a_body_is_not_measured_as_a_line(serve):
    served = await serve(app)
    peer = await served.peer()
    body = b"b" * 50_000
    peer.send(head("POST", "/", {"Host": "a", "Content-Length": "50000"}) + body + b"GET /2 HT")
    assert len(json.loads((await peer.answer()).body)["body"]) == 50_000
    peer.send(b"TP/1.1\r\nHost: a\r\n\r\n")
    assert json.loads((await peer.answer()).body)["path"] == "/2"


@pytest.mark.parametrize("endless", [b"5;x=", b"0\r\nX: "], ids=["extension", "trailer"])
async def test_endless_chunk_extensions_and_trailers_are_refused(serve, endless):
    served = await serve(app)
    peer = await served.peer()
    peer.request(method="POST", Transfer_Encoding="chunked")
    await until(lambda: served.scopes)
    peer.send(endless + b"y" * 100_000)
    assert (await peer.answer()).status == 431
    await until(lambda: not served.state.tasks)
