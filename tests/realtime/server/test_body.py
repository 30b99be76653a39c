"""The cap on request bodies, by their length, by counting, and when an answer has begun."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from realtime.server.body import BodyCap
from tests.realtime.server.conftest import Serve, until

LIMITS = [("/media/", 1000, 400, "file too large or invalid multipart form")]


class Reader:
    """Read the whole body as Django does, then answer with its length; `seen` counts bytes."""

    def __init__(self) -> None:
        self.seen = 0
        self.disconnected = False
        self.calls = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls += 1
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnected = True
                await send({"type": "http.response.start", "status": 500, "headers": []})
                await send({"type": "http.response.body", "body": b"swallowed"})
                return
            self.seen += len(message["body"])
            if not message["more_body"]:
                break
        said = str(self.seen).encode()
        headers = [(b"content-length", str(len(said)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": said})


def capped(app: Any) -> BodyCap:
    return BodyCap(app, limits=LIMITS, default_max_bytes=100)


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
async def peer(serve: Serve, reader: Reader) -> Any:
    return await (await serve(capped(reader))).peer()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize(("path", "size"), [("/", 0), ("/", 100), ("/media/upload", 1000)])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_up_to_the_limit_passes(peer, path, size, chunked):
    if chunked:
        peer.request(path, "POST", Transfer_Encoding="chunked")
        peer.send(b"".join(chunk(b"x" * 10) for _ in range(size // 10)) + b"0\r\n\r\n")
    else:
        peer.request(path, "POST", Content_Length=str(size))
        peer.send(b"x" * size)
    answer = await peer.answer()
    assert (answer.status, answer.body) == (200, str(size).encode())
    peer.request("/again")
    assert (await peer.answer()).status == 200


@pytest.mark.parametrize(
    ("path", "size", "status", "code", "message"),
    [
        ("/", 101, 413, "TOO_LARGE", "the request body is larger than 100 bytes"),
        ("/media/x", 1001, 400, "INVALID_REQUEST", LIMITS[0][3]),
        ("/mediax", 1001, 413, "TOO_LARGE", "the request body is larger than 100 bytes"),
    ],
)
@pytest.mark.parametrize("how", ["length", "chunked"])
async def test_a_larger_body_is_refused(peer, reader, path, size, status, code, message, how):
    if how == "length":
        peer.request(path, "POST", Content_Length=str(size))
        peer.send(b"x" * size)
    else:
        peer.request(path, "POST", Transfer_Encoding="chunked")
        peer.send(chunk(b"x" * (size - 1)) + chunk(b"x") + b"0\r\n\r\n")
    answer = await peer.answer()
    assert (answer.status, answer.error) == (status, {"code": code, "message": message})
    assert answer.headers["connection"] == "close"
    assert await peer.ended() == b""
    assert reader.seen <= size - 1


async def test_a_declared_length_is_refused_before_anything_is_read(peer, reader):
    peer.request("/", "POST", Content_Length="101", Expect="100-continue")
    answer = await peer.answer()
    assert answer.status == 413, "and not 100: the body need not be sent"
    assert reader.calls == 0


async def test_an_endless_body_is_refused_where_the_limit_is_passed(peer, reader):
    peer.request("/", "POST", Transfer_Encoding="chunked")
    peer.send(chunk(b"x" * 60))
    await until(lambda: reader.seen == 60)
    peer.send(chunk(b"x" * 41))
    answer = await peer.answer()
    assert answer.status == 413
    assert reader.seen == 60
    await until(lambda: reader.disconnected)
    assert b"swallowed" not in await peer.ended()


async def test_a_peer_that_sends_on_reads_its_answer(peer, reader):
    peer.request("/", "POST", Content_Length="800000")
    peer.send(b"x" * 800_000)
    await asyncio.wait_for(peer.writer.drain(), 5)
    assert (await peer.answer()).status == 413
    assert await peer.ended() == b""


async def test_a_peer_that_never_stops_is_cut_off(peer, reader):
    peer.request("/", "POST", Transfer_Encoding="chunked")
    taken = 0
    data = chunk(b"x" * 100_000)
    with pytest.raises(ConnectionError):
        while taken < 2_000_000_000:
            peer.send(data)
            await asyncio.wait_for(peer.writer.drain(), 5)
            taken += len(data)
    assert taken < 64_000_000
    assert reader.seen <= 100


async def test_a_body_over_the_limit_ends_a_response_that_has_begun(serve):
    told: list[str] = []

    async def eager(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"10")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"12345", "more_body": True})
        while (message := await receive())["type"] == "http.request":
            assert message["more_body"]
        told.append(message["type"])
        await send({"type": "http.response.body", "body": b"67890"})

    served = await serve(capped(eager))
    peer = await served.peer()
    peer.request("/", "POST", Transfer_Encoding="chunked")
    assert (await asyncio.wait_for(peer.reader.readuntil(b"12345"), 5)).startswith(b"HTTP/1.1 200")
    peer.send(chunk(b"x" * 101))
    assert await peer.ended() == b""
    await until(lambda: told == ["http.disconnect"])


async def test_without_our_own_server_a_begun_response_just_stops():
    sent: list[Any] = []

    async def eager(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.body", "body": b"more"})

    async def receive() -> Any:
        return {"type": "http.request", "body": b"x" * 101, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await capped(eager)({"type": "http", "path": "/", "headers": []}, receive, send)
    assert sent == ["http.response.start"]


async def test_websockets_pass(serve):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await receive()

    served = await serve(capped(app))
    peer = await served.peer()
    await peer.open("/media/")
