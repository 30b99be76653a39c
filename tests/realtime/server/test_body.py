"""The cap on request bodies, by their length, by counting, and when an answer has begun."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest

from realtime.server.body import BodyCap, Limit, Pace
from tests.realtime.server.conftest import Serve, until

MESSAGE = "file too large or invalid multipart form"
LIMITS = [
    Limit(prefix="/media/", most=1000, status=400, message=MESSAGE),
    Limit(prefix="/door/", most=1000, status=400, message=MESSAGE, credentials=("x-key", "x-id")),
]


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
        ("/media/x", 1001, 400, "INVALID_REQUEST", MESSAGE),
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
    await asyncio.wait_for(peer.writer.drain(), 30)
    assert (await peer.answer()).status == 413
    assert await peer.ended() == b""


async def test_a_peer_that_never_stops_is_cut_off(peer, reader):
    peer.request("/", "POST", Transfer_Encoding="chunked")
    taken = 0
    data = chunk(b"x" * 100_000)
    with pytest.raises(ConnectionError):
        while taken < 2_000_000_000:
            peer.send(data)
            await asyncio.wait_for(peer.writer.drain(), 30)
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
    assert (await asyncio.wait_for(peer.reader.readuntil(b"12345"), 30)).startswith(b"HTTP/1.1 200")
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


# --- whoever shows nothing ---


async def test_without_credentials_a_body_is_not_read(peer, reader):
    peer.request("/door/x", "POST", Content_Length="1000", X_Other="1", X_Key="")
    answer = await peer.answer()
    assert (answer.status, answer.error["code"]) == (401, "UNAUTHORIZED")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert reader.calls == 0


@pytest.mark.parametrize("name", ["X_KEY", "x_id"])
async def test_with_any_of_the_credentials_it_is(peer, name):
    peer.request("/door/x", "POST", Content_Length="5", **{name: "whatever"})
    peer.send(b"x" * 5)
    assert (await peer.answer()).status == 200


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_who_only_asks_needs_none(peer, method):
    peer.request("/door/x", method)
    assert (await peer.answer()).status == 200


@pytest.mark.parametrize("shown", [{}, {"X_Key": "whatever"}])
async def test_who_only_asks_brings_no_large_body(peer, reader, shown):
    peer.request("/door/x", "GET", Content_Length="101", **shown)
    assert (await peer.answer()).status == 413, "100 bytes are what every path takes"
    assert reader.calls == 0


# --- slow bodies ---


@pytest.fixture
async def paced(serve: Serve, reader: Reader) -> Any:
    pace = Pace(least=50, window_s=0.6)
    app = BodyCap(reader, limits=[], default_max_bytes=10_000, pace=pace)
    return await (await serve(app)).peer()


@pytest.mark.parametrize("sent", [0, 1, 49])
async def test_m03_a_body_that_stalls_is_refused_with_408(paced, reader, sent):
    paced.request("/", "POST", Content_Length="1000")
    paced.send(b"x" * sent)
    answer = await paced.answer()
    assert (answer.status, answer.error["code"]) == (408, "TIMEOUT")
    assert answer.error["message"] == "the request body came slower than 50 bytes in 0.6 seconds"
    assert await paced.ended() == b""
    await until(lambda: reader.disconnected)


async def test_m03_a_trickle_is_refused_though_it_never_stops(paced):
    paced.request("/", "POST", Transfer_Encoding="chunked")
    answering = asyncio.create_task(paced.answer())
    while not answering.done():
        paced.send(chunk(b"x"))
        await asyncio.wait([answering], timeout=0.02)
    assert (await answering).status == 408


async def test_a_body_that_keeps_the_pace_may_take_its_time(serve, reader):
    pace, sends = Pace(least=50, window_s=2.0), 60  # many in each window: one may be late
    peer = await (await serve(BodyCap(reader, [], 10_000, pace=pace))).peer()
    began = asyncio.get_running_loop().time()
    peer.request("/", "POST", Content_Length=str(50 * sends))
    for _ in range(sends):
        peer.send(b"x" * 50)
        await asyncio.sleep(3.1 * pace.window_s / sends)
    answer = await peer.answer()
    assert (answer.status, answer.body) == (200, str(50 * sends).encode())
    assert asyncio.get_running_loop().time() - began > 3 * pace.window_s


async def test_a_slow_application_is_not_the_peers_fault(serve):
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            await asyncio.sleep(0.8)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    pace = Pace(least=50, window_s=0.6)
    peer = await (await serve(BodyCap(slow, [], 10_000, pace=pace))).peer()
    peer.request("/", "POST", Content_Length="3")
    for _ in range(3):
        peer.send(b"x")
        await asyncio.sleep(0.02)
    assert (await peer.answer()).status == 204


async def test_a_quiet_wait_for_the_answer_is_no_slow_body(serve):
    told: list[str] = []

    async def thinking(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        watch = asyncio.create_task(receive())  # as Django watches for a disconnect
        await asyncio.sleep(0.5)
        assert not watch.done()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        told.append((await watch)["type"])

    pace = Pace(least=50, window_s=0.1)
    peer = await (await serve(BodyCap(thinking, [], 10_000, pace=pace))).peer()
    peer.request("/")
    assert (await peer.answer()).status == 204
    await until(lambda: told == ["http.disconnect"])


# --- a full disk ---


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
async def test_m15_a_body_for_which_there_is_no_room_is_told_so(serve, number):
    async def full(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise OSError(number, "no room")

    peer = await (await serve(capped(full))).peer()
    peer.request("/media/x", "POST", Content_Length="1000")
    peer.send(b"x" * 10)
    answer = await peer.answer()
    assert (answer.status, answer.error["code"]) == (507, "INSUFFICIENT_STORAGE")


async def test_another_fault_is_not_called_a_full_disk(serve, expected_faults):
    expected_faults |= {"Exception in ASGI application"}

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise OSError(errno.EIO, "broken")

    peer = await (await serve(capped(broken))).peer()
    peer.request("/")
    assert (await peer.answer()).status == 500


async def test_websockets_pass(serve):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await receive()

    served = await serve(capped(app))
    peer = await served.peer()
    await peer.open("/media/")
