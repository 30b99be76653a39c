"""Codes, reasons, sizes, life and ends of a WebSocket. Source: PROTOCOLS.md 0.2, 0.3, 2.10."""

from __future__ import annotations

import asyncio
import json
import logging
import logging.config
import socket
import time
from typing import Any

import pytest
import structlog
import websockets
from django.conf import settings

from realtime.server.frames import fitting, text_frame
from tests.realtime.server.conftest import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    UPGRADE,
    Serve,
    close_frame,
    frame,
    head,
    until,
)

LIMIT = 524_288
MIB = 1024 * 1024


class Echo:
    """Accept with `max_size`, send texts and bytes back; `ended` is the disconnect it was told."""

    def __init__(self, **accept: Any) -> None:
        self.accept = accept
        self.heard: list[Any] = []
        self.ended: dict[str, Any] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept", **self.accept})
        while (message := await receive())["type"] == "websocket.receive":
            said = message.get("text")
            self.heard.append(message["bytes"] if said is None else said)
            if said is None:
                await send({"type": "websocket.send", "bytes": message["bytes"]})
            else:
                await send({"type": "websocket.send", "text": said})
        self.ended = message


class Scripted:
    """Accept, then do what the test does through `send` and `writer`; `inbox` is what came."""

    def __init__(self, **accept: Any) -> None:
        self.accept = accept
        self.ready = asyncio.Event()
        self.finish = asyncio.Event()
        self.inbox: list[Any] = []
        self.listening = True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", **self.accept})
        self.send = send
        self.receive = receive
        self.writer = scope["extensions"]["gateway.writer"]
        self.ready.set()
        if self.listening:
            while (message := await receive())["type"] == "websocket.receive":
                self.inbox.append(message)
            self.inbox.append(message)
        else:
            await self.finish.wait()


async def closing_after(serve: Serve, *frames: bytes, app: Any = None) -> tuple[int, str]:
    """The close that `frames` meet; the application is told the same, and the socket ends."""
    app = app or Echo(max_size=LIMIT)
    served = await serve(app)
    peer = await served.peer()
    await peer.open()
    peer.send(b"".join(frames))
    closing = await peer.closing()
    assert await peer.ended() == b""
    await until(lambda: app.ended)
    assert app.ended == {"type": "websocket.disconnect", "code": closing[0], "reason": closing[1]}
    return closing


# --- sizes ---


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, LIMIT])
async def test_a_message_up_to_the_limit_arrives(serve, size):
    served = await serve(Echo(max_size=LIMIT))
    peer = await served.peer()
    await peer.open()
    peer.frame(TEXT, b"x" * size)
    assert len(await peer.text()) == size


TOO_LARGE = {
    "one byte over": [frame(TEXT, b"x" * (LIMIT + 1))],
    "by its header alone": [frame(TEXT, declared=LIMIT + 1)],
    "2^62 declared": [frame(TEXT, declared=2**62)],
    "two fragments": [
        frame(TEXT, b"x" * 262_145, fin=False),
        frame(CONTINUATION, declared=262_144),
    ],
}


@pytest.mark.parametrize("frames", TOO_LARGE.values(), ids=TOO_LARGE)
async def test_a_larger_message_is_closed_1009(serve, frames):
    assert await closing_after(serve, *frames) == (1009, "frame larger than 524288 bytes")


async def test_a_peer_that_goes_on_sending_still_reads_its_1009(serve):
    frames = [frame(TEXT, b"x" * 4 * MIB)]
    assert await closing_after(serve, *frames) == (1009, "frame larger than 524288 bytes")


@pytest.mark.parametrize("limit", [100, 2 * MIB])
async def test_each_connection_has_its_own_limit(serve, limit):
    served = await serve(Echo(max_size=limit))
    peer = await served.peer()
    await peer.open()
    peer.frame(TEXT, b"x" * limit)
    assert len(await peer.text()) == limit
    peer.frame(TEXT, declared=limit + 1)
    assert await peer.closing() == (1009, f"frame larger than {limit} bytes")


async def test_without_a_limit_of_its_own_the_configured_one_holds(serve):
    served = await serve(Echo(), ws_max_size=100)
    peer = await served.peer()
    await peer.open()
    peer.frame(TEXT, b"x" * 101)
    assert await peer.closing() == (1009, "frame larger than 100 bytes")


@pytest.mark.parametrize("size", [10, 200_000])
async def test_frames_before_the_accept_are_judged_by_its_limit(serve, size):
    decide = asyncio.Event()
    app = Scripted(max_size=size)

    async def hesitant(scope: Any, receive: Any, send: Any) -> None:
        await decide.wait()
        await app(scope, receive, send)

    served = await serve(hesitant, ws_max_size=100)
    peer = await served.peer()
    peer.upgrade(rest=frame(TEXT, b"a" * size))
    await until(lambda: served.scopes)
    peer.send(frame(TEXT, b"b" * (size + 1)))
    assert await peer.is_quiet(), "nothing is answered before the accept"
    decide.set()
    assert (await peer.answer()).status == 101
    assert await peer.closing() == (1009, f"frame larger than {size} bytes")
    await until(lambda: len(app.inbox) == 2)
    assert app.inbox[0]["text"] == "a" * size
    assert app.inbox[1]["code"] == 1009


async def test_what_waits_for_the_accept_is_bounded(serve):
    decide = asyncio.Event()

    async def hesitant(scope: Any, receive: Any, send: Any) -> None:
        await decide.wait()
        await Echo(max_size=64 * MIB)(scope, receive, send)

    served = await serve(hesitant)
    peer = await served.peer()
    peer.upgrade(rest=frame(TEXT, b"a" * 16 * MIB))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(peer.writer.drain(), 0.2)
    (connection,) = served.state.connections
    assert len(connection._held) < MIB
    decide.set()
    assert (await peer.answer()).status == 101
    assert len(await peer.text()) == 16 * MIB


async def test_empty_fragments_do_not_grow_without_end(serve):
    fragments = [frame(TEXT, fin=False), *[frame(CONTINUATION, fin=False)] * 20_000]
    code, reason = await closing_after(serve, *fragments)
    assert (code, reason) == (1009, "message in more than 16384 fragments")


# --- framing ---

BROKEN = {
    "reserved bit 1": [frame(TEXT, b"x", rsv=4)],
    "reserved bit 2": [frame(TEXT, b"x", rsv=2)],
    "reserved bit 3": [frame(TEXT, b"x", rsv=1)],
    **{f"opcode {opcode}": [frame(opcode, b"x")] for opcode in [*range(3, 8), *range(11, 16)]},
    "long ping": [frame(PING, b"x" * 126)],
    "fragmented ping": [frame(PING, b"x", fin=False)],
    "fragmented close": [frame(CLOSE, b"\x03\xe8", fin=False)],
    "unmasked": [frame(TEXT, b"x", masked=False)],
    "lone continuation": [frame(CONTINUATION, b"x")],
    "text inside fragments": [frame(TEXT, b"x", fin=False), frame(TEXT, b"y")],
    "close of one byte": [frame(CLOSE, b"\x03")],
    "close with a long reason": [close_frame(1000, b"x" * 124)],
    **{
        f"close {code}": [close_frame(code)]
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    },
}


@pytest.mark.parametrize("frames", BROKEN.values(), ids=BROKEN)
async def test_a_broken_frame_is_closed_1002_with_a_reason(serve, frames):
    code, reason = await closing_after(serve, *frames)
    assert code == 1002
    assert reason


NOT_UTF8 = {
    "lone continuation byte": b"a\x80",
    "overlong": b"\xc0\xaf",
    "overlong of three": b"\xe0\x80\xaf",
    "surrogate": b"\xed\xa0\x80",
    "beyond Unicode": b"\xf4\x90\x80\x80",
    "cut": b"\xe2\x82",
    "0xff": b"\xff",
}


@pytest.mark.parametrize("payload", NOT_UTF8.values(), ids=NOT_UTF8)
@pytest.mark.parametrize("fragmented", [False, True])
async def test_invalid_utf_8_is_closed_1007(serve, payload, fragmented):
    frames = [frame(TEXT, payload)]
    if fragmented:
        parts = [payload[index : index + 1] for index in range(len(payload))]
        frames = [
            frame(TEXT, b"fine", fin=False),
            *[frame(CONTINUATION, part, fin=False) for part in parts],
            frame(CONTINUATION),
        ]
    assert await closing_after(serve, *frames) == (1007, "invalid UTF-8")


async def test_an_invalid_fragment_is_not_waited_out(serve):
    assert (await closing_after(serve, frame(TEXT, b"\xff", fin=False)))[0] == 1007


async def test_an_invalid_close_reason_is_closed_1007(serve):
    assert (await closing_after(serve, close_frame(1000, b"\xff")))[0] == 1007


async def test_utf_8_may_be_split_at_any_byte(serve):
    served = await serve(Echo())
    peer = await served.peer()
    await peer.open()
    text = "aß€😀"
    payload = text.encode()
    for cut in range(1, len(payload)):
        peer.frame(TEXT, payload[:cut], fin=False)
        peer.frame(CONTINUATION, payload[cut:])
        assert await peer.text() == text


async def test_what_came_before_the_broken_frame_is_heard(serve):
    app = Scripted()
    served = await serve(app)
    peer = await served.peer()
    await peer.open()
    peer.send(frame(TEXT, b"fine") + frame(PING, b"p") + frame(3))
    assert await peer.read_frame() == (PONG, b"p")
    assert (await peer.closing())[0] == 1002
    await until(lambda: len(app.inbox) == 2)
    assert app.inbox[0]["text"] == "fine"


async def test_a_ping_of_125_bytes_gets_its_pong(serve):
    served = await serve(Echo())
    peer = await served.peer()
    await peer.open()
    peer.frame(PING, b"p" * 125)
    assert await peer.read_frame() == (PONG, b"p" * 125)


async def test_a_ping_between_fragments_leaves_the_message_whole(serve):
    served = await serve(Echo())
    peer = await served.peer()
    await peer.open()
    peer.send(frame(TEXT, b"a", fin=False) + frame(PING, b"p") + frame(CONTINUATION, b"b"))
    assert await peer.read_frame() == (PONG, b"p")
    assert await peer.text() == "ab"


async def test_unsolicited_pongs_are_ignored(serve):
    served = await serve(Echo())
    peer = await served.peer()
    await peer.open()
    peer.send(frame(PONG) + frame(PONG, b"x") + frame(TEXT, b"still here"))
    assert await peer.text() == "still here"


async def test_binary_and_fragmented_binary_arrive_as_bytes(serve):
    served = await serve(Echo())
    peer = await served.peer()
    await peer.open()
    peer.send(frame(BINARY, b"\xff\x00"))
    assert await peer.read_frame() == (BINARY, b"\xff\x00")
    peer.send(frame(BINARY, b"\xff", fin=False) + frame(CONTINUATION, b"\xfe"))
    assert await peer.read_frame() == (BINARY, b"\xff\xfe")


async def test_one_byte_in_each_segment_is_enough(serve):
    served = await serve(Echo())
    peer = await served.peer()
    peer.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in head("GET", "/ws", UPGRADE) + frame(TEXT, b"slowly"):
        peer.send(bytes([byte]))
        await asyncio.sleep(0)
    assert (await peer.answer()).status == 101
    assert await peer.text() == "slowly"


async def test_a_thousand_frames_in_one_segment_are_answered_in_order(serve):
    served = await serve(Echo())
    peer = await served.peer()
    await peer.open()
    peer.send(b"".join(frame(TEXT, str(number).encode()) for number in range(1000)))
    assert [await peer.text() for _ in range(1000)] == [str(number) for number in range(1000)]


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 3000, 3999, 4000, 4999])
async def test_a_close_is_echoed_and_told(serve, code):
    served = await serve(app := Echo())
    peer = await served.peer()
    await peer.open()
    peer.send(close_frame(code, b"why") + frame(TEXT, b"ignored") + close_frame(1002))
    assert await peer.read_frame() == (CLOSE, code.to_bytes(2, "big") + b"why")
    assert await peer.ended() == b""
    await until(lambda: app.ended)
    assert (app.ended["code"], app.ended["reason"], app.heard) == (code, "why", [])


async def test_a_close_without_a_code_is_answered_with_1000(serve):
    served = await serve(app := Echo())
    peer = await served.peer()
    await peer.open()
    peer.frame(CLOSE)
    assert await peer.read_frame() == (CLOSE, b"\x03\xe8")
    assert await peer.ended() == b""
    await until(lambda: app.ended)
    assert app.ended["code"] == 1005


async def test_compression_is_declined_when_it_is_off(serve):
    served = await serve(Echo())
    peer = await served.peer()
    answer = await peer.open(Sec_WebSocket_Extensions="permessage-deflate")
    assert "sec-websocket-extensions" not in answer.headers
    peer.frame(TEXT, b"x", rsv=4)
    assert (await peer.closing())[0] == 1002


async def test_compression_works_when_it_is_on(serve):
    app = Scripted()
    served = await serve(app, ws_per_message_deflate=True)
    async with websockets.connect(f"ws://127.0.0.1:{served.port}/ws") as client:
        assert client.protocol.extensions
        await app.ready.wait()
        app.writer.write_text("x" * 100_000)
        assert await client.recv() == "x" * 100_000


async def test_the_writer_compresses_too(serve):
    app = Scripted()
    served = await serve(app, ws_per_message_deflate=True)
    peer = await served.peer()
    await peer.open(Sec_WebSocket_Extensions="permessage-deflate")
    await app.ready.wait()
    app.writer.write_text("x" * 10_000)
    first, length = await peer.read(2)
    assert first == 0x80 | 0x40 | TEXT
    assert length < 126
    await peer.read(length)


async def test_a_decompression_bomb_is_closed_1009(serve):
    served = await serve(Echo(max_size=MIB), ws_per_message_deflate=True)
    async with websockets.connect(f"ws://127.0.0.1:{served.port}/ws", max_size=None) as client:
        with pytest.raises(websockets.ConnectionClosed) as ended:
            await client.send("x" * 16 * MIB)
            await client.recv()
        assert ended.value.rcvd.code == 1009
        assert ended.value.rcvd.reason == "frame larger than 1048576 bytes"


# --- being alive ---

QUICK = {"ws_ping_interval": 0.05, "ws_ping_timeout": 1.0}


async def test_a_silent_peer_is_pinged_and_then_closed(serve):
    served = await serve(app := Echo(), **QUICK)
    peer = await served.peer()
    await peer.open()
    began = time.monotonic()
    opcode, _ = await peer.read_frame()
    assert opcode == PING
    assert await peer.closing() == (1011, "keepalive ping timeout")
    assert 1.02 < time.monotonic() - began < 10
    assert await peer.ended() == b""
    await until(lambda: app.ended)
    assert app.ended["code"] == 1011


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PONG, PING])
async def test_any_frame_proves_life(serve, opcode):
    served = await serve(Scripted(), **QUICK)
    peer = await served.peer()
    await peer.open()
    answered = 0
    while answered < 3:  # a second ping means that the first one's answer counted
        received, payload = await peer.read_frame()
        if received == PING:  # answered by anything but the pong that it asks for
            peer.frame(opcode, b"here")
            answered += 1
        else:
            assert (received, payload) == (PONG, b"here")


async def test_a_peer_is_not_dead_because_the_application_does_not_listen(serve):
    app = Scripted()
    app.listening = False
    served = await serve(app, **QUICK)
    peer = await served.peer()
    await peer.open()
    await app.ready.wait()
    peer.frame(TEXT, b"not yet read")
    await asyncio.wait_for(read_for(peer, 1.5), 30)
    assert await app.receive() == {"type": "websocket.receive", "text": "not yet read"}
    app.writer.write_text("still open")
    while True:
        opcode, payload = await peer.read_frame()
        if opcode == TEXT:
            assert payload == b"still open"
            break
        assert opcode == PING
    app.finish.set()


async def read_for(peer: Any, seconds: float) -> None:
    """Answer pings for a while; a close fails."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        try:
            opcode, payload = await asyncio.wait_for(peer.read_frame(), left)
        except TimeoutError:
            return
        assert opcode == PING
        peer.frame(PONG, payload)


# --- the application's sends and closes ---


async def test_a_close_goes_out_with_its_code_and_reason(serve):
    app = Scripted()
    served = await serve(app)
    for through in ("send", "writer"):
        peer = await served.peer()
        app.ready.clear()
        await peer.open()
        await app.ready.wait()
        if through == "send":
            await app.send({"type": "websocket.close", "code": 4403, "reason": "näh"})
        else:
            app.writer.close(4403, "näh")
        assert await peer.closing() == (4403, "näh")
        assert await peer.is_quiet(), "the peer may still answer"
        peer.send(close_frame(4403))
        assert await peer.ended() == b""
        await until(lambda: app.inbox)
        last = app.inbox.pop()
        assert (last["code"], last["reason"]) == (4403, "näh")


@pytest.mark.parametrize("code", [1000, 1008, 1011, 1012, 4008])
async def test_a_close_without_a_reason_is_given_one(serve, code):
    app = Scripted()
    served = await serve(app)
    peer = await served.peer()
    await peer.open()
    await app.ready.wait()
    await app.send({"type": "websocket.close", "code": code})
    closing = await peer.closing()
    assert closing[0] == code
    assert closing[1]


def test_a_long_reason_is_cut_at_a_character():
    assert fitting(4000, "x" * 124) == "x" * 123
    assert fitting(4000, "€" * 100) == "€" * 41
    assert fitting(4000, "x" + "😀" * 40) == "x" + "😀" * 30
    assert fitting(4000, "short") == "short"


async def test_a_long_reason_fits_the_frame(serve):
    app = Scripted()
    served = await serve(app)
    peer = await served.peer()
    await peer.open()
    await app.ready.wait()
    app.writer.close(4000, "€" * 100)
    assert await peer.closing() == (4000, "€" * 41)


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 200_000])
async def test_the_writer_and_send_say_the_same_in_order(serve, size):
    app = Scripted()
    served = await serve(app)
    peer = await served.peer()
    await peer.open()
    await app.ready.wait()
    app.writer.write_text("ä" * size)
    await app.send({"type": "websocket.send", "text": "between"})
    app.writer.write_text("last")
    assert [await peer.text() for _ in range(3)] == ["ä" * size, "between", "last"]
    assert text_frame(b"x" * size)[-size or None :] == b"x" * size or size == 0


async def test_the_writer_counts_what_the_peer_has_not_taken(serve):
    app = Scripted()
    served = await serve(app)
    peer = await slow_peer(served)
    await app.ready.wait()
    assert app.writer.buffered() == 0
    app.writer.write_text("x" * 4 * MIB)
    assert app.writer.buffered() > MIB
    while app.writer.buffered():
        await peer.read(min(MIB, app.writer.buffered()))


async def test_the_writer_does_nothing_before_the_accept_and_after_the_end(serve):
    early: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        writer = scope["extensions"]["gateway.writer"]
        writer.write_text("too early")
        writer.close(4000, "too early")
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        early.append(writer)

    served = await serve(app)
    peer = await served.peer()
    await peer.open()
    assert await peer.is_quiet()
    peer.send(close_frame(1000))
    assert await peer.read_frame() == (CLOSE, b"\x03\xe8")
    await until(lambda: early and not served.state.connections)
    early[0].write_text("too late")
    early[0].close(4000, "too late")
    assert early[0].buffered() == 0
    assert await peer.ended() == b""


async def test_nothing_follows_a_close(serve):
    app = Scripted()
    served = await serve(app)
    peer = await served.peer()
    await peer.open()
    await app.ready.wait()
    app.writer.close(4000, "enough")
    app.writer.write_text("more")
    app.writer.close(4001, "again")
    with pytest.raises(RuntimeError):
        await app.send({"type": "websocket.send", "text": "more"})
    assert await peer.closing() == (4000, "enough")
    peer.send(close_frame(4000))
    assert await peer.ended() == b""


async def test_messages_behind_our_close_do_not_reach_the_application(serve):
    app = Scripted()
    served = await serve(app)
    peer = await served.peer()
    await peer.open()
    await app.ready.wait()
    app.writer.close(4000, "enough")
    assert await peer.closing() == (4000, "enough")
    peer.send(frame(TEXT, b"late") * 100)
    assert await peer.is_quiet()
    peer.send(close_frame(4000))
    assert await peer.ended() == b"", "it was still listened to"
    assert [message["type"] for message in app.inbox] == ["websocket.disconnect"]


# --- peers that do not read, and peers that vanish ---


async def slow_peer(served: Any) -> Any:
    """A peer whose socket takes little, and that stops reading."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.setblocking(False)
    await asyncio.get_running_loop().sock_connect(line, ("127.0.0.1", served.port))
    reader, writer = await asyncio.open_connection(sock=line, limit=4096)
    peer = type(await served.peer())(reader, writer)
    served._peers.append(peer)
    await peer.open()
    return peer


@pytest.mark.parametrize("through", ["send", "writer"])
async def test_a_peer_that_does_not_read_is_cut_off_after_its_close(serve, through):
    app = Scripted()
    served = await serve(app, ws={"farewell_s": 1.0})
    peer = await slow_peer(served)
    await app.ready.wait()
    app.writer.write_text("x" * 16 * MIB)
    assert app.writer.buffered() > MIB
    began = time.monotonic()
    if through == "send":
        await asyncio.wait_for(app.send({"type": "websocket.close", "code": 4008}), 0.5)
    else:
        app.writer.close(4008, "slow consumer")
    await until(lambda: app.inbox)
    assert app.inbox[-1]["code"] == 4008
    assert any(connection.client for connection in served.state.connections), "not at once"
    slow = [one for one in served.state.connections if one.transport.get_write_buffer_size()]
    await until(lambda: not set(slow) & served.state.connections)
    assert 0.9 < time.monotonic() - began < 10
    peer.writer.transport.abort()


async def test_a_silent_peer_that_does_not_read_either_is_cut_off(serve):
    app = Scripted()
    served = await serve(app, ws={"linger_s": 0.1}, **QUICK)
    await slow_peer(served)
    await app.ready.wait()
    app.writer.write_text("x" * 16 * MIB)
    await until(lambda: app.inbox)
    assert app.inbox[-1]["code"] == 1011
    await until(lambda: not app.writer.buffered() or not served.state.tasks)
    await until(lambda: len(served.state.connections) <= 1)


async def test_a_peer_that_does_not_answer_a_close_is_cut_off(serve):
    app = Scripted()
    served = await serve(app, ws={"farewell_s": 1.0})
    peer = await served.peer()
    await peer.open()
    await app.ready.wait()
    began = time.monotonic()
    app.writer.close(4000, "enough")
    assert await peer.closing() == (4000, "enough")
    assert await peer.ended() == b""
    assert 0.9 < time.monotonic() - began < 10


async def test_pongs_for_a_peer_that_does_not_read_do_not_pile_up(serve):
    app = Scripted()
    served = await serve(app)
    peer = await slow_peer(served)
    await app.ready.wait()
    app.writer.write_text("x" * 4 * MIB)
    before = app.writer.buffered()
    peer.send(frame(PING, b"p" * 125) * 5000)
    await peer.writer.drain()
    peer.frame(TEXT, b"behind them")
    await until(lambda: app.inbox)
    assert app.writer.buffered() <= before


async def test_a_send_that_waited_for_a_peer_ends_with_it(serve):
    app = Scripted()
    ends: list[BaseException] = []
    served = await serve(app)
    peer = await slow_peer(served)
    await app.ready.wait()

    async def push() -> None:
        try:
            while True:
                await app.send({"type": "websocket.send", "text": "x" * MIB})
        except OSError as error:
            ends.append(error)

    pushing = asyncio.create_task(push())
    await until(lambda: app.writer.buffered() > 65536)
    peer.writer.transport.abort()
    await asyncio.wait_for(pushing, 30)
    assert ends


async def test_a_send_that_waited_for_a_peer_ends_with_our_close(serve):
    app = Scripted()
    served = await serve(app)
    peer = await slow_peer(served)
    await app.ready.wait()
    app.writer.write_text("x" * 4 * MIB)
    waiting = asyncio.create_task(app.send({"type": "websocket.send", "text": "too late"}))
    await asyncio.sleep(0)
    assert not waiting.done()
    app.writer.close(4000, "enough")
    assert len(await peer.text()) == 4 * MIB
    assert await peer.closing() == (4000, "enough")
    with pytest.raises(OSError):
        await asyncio.wait_for(waiting, 30)


@pytest.mark.parametrize("how", ["reset", "end of stream", "in a frame", "in the handshake"])
async def test_a_peer_that_vanishes_is_told_to_the_application(serve, how):
    decide = asyncio.Event()
    app = Echo()

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        if how == "in the handshake":
            await decide.wait()
        await app(scope, receive, send)

    served = await serve(waiting)
    peer = await served.peer()
    if how == "in the handshake":
        peer.upgrade()
        await until(lambda: served.scopes)
    else:
        await peer.open()
    if how == "in a frame":
        peer.send(frame(TEXT, b"half", declared=100))
    if how == "end of stream":
        peer.writer.write_eof()
    else:
        peer.writer.transport.abort()
    if how == "in the handshake":
        await until(lambda: not served.state.connections)
        decide.set()
        await until(lambda: not served.state.tasks)
        return
    await until(lambda: app.ended)
    assert app.ended["code"] == 1006
    await until(lambda: not served.state.connections)


async def test_sends_to_a_peer_that_is_gone_say_so(serve):
    app = Scripted()
    served = await serve(app)
    peer = await served.peer()
    await peer.open()
    await app.ready.wait()
    peer.send(frame(TEXT, b"\xff"))
    assert (await peer.closing())[0] == 1007
    with pytest.raises(OSError):
        await app.send({"type": "websocket.send", "text": "x"})
    with pytest.raises(OSError):
        await app.send({"type": "websocket.close"})


# --- refusals ---


def refusing(status: int, body: bytes, *headers: tuple[bytes, bytes]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        kind = "websocket.http.response"
        await send({"type": f"{kind}.start", "status": status, "headers": list(headers)})
        await send({"type": f"{kind}.body", "body": body[:2], "more_body": True})
        await send({"type": f"{kind}.body", "body": body[2:]})
        assert (await receive())["type"] == "websocket.disconnect"

    return app


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
async def test_an_upgrade_is_refused_with_any_status_body_and_headers(serve, status):
    body = json.dumps({"error": {"code": "X", "message": "no"}}).encode()
    served = await serve(refusing(status, body, (b"retry-after", b"7"), (b"x-one", b"1")))
    peer = await served.peer()
    peer.upgrade("/ws?token=s3cret")
    with structlog.testing.capture_logs() as logs:
        answer = await peer.answer()
        assert await peer.ended() == b""
    assert (answer.status, answer.body) == (status, body)
    assert (answer.headers["retry-after"], answer.headers["x-one"]) == ("7", "1")
    assert answer.headers["connection"] == "close"
    (line,) = [line for line in logs if line["event"] == "websocket upgrade failed"]
    assert (line["path"], line["status"]) == ("/ws", status)
    assert line["client"].startswith("127.0.0.1:")
    assert "s3cret" not in str(logs)


async def test_a_refusal_without_a_body_is_complete(serve):
    served = await serve(refusing(401, b""))
    peer = await served.peer()
    peer.upgrade()
    answer = await peer.answer()
    assert (answer.status, answer.body) == (401, b"")
    assert answer.headers["content-length"] == "0"


async def test_a_close_before_the_accept_is_403(serve):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 4003})

    served = await serve(app)
    peer = await served.peer()
    with structlog.testing.capture_logs() as logs:
        peer.upgrade()
        answer = await peer.answer()
        assert await peer.ended() == b""
    assert (answer.status, answer.error["code"]) == (403, "FORBIDDEN")
    assert [line["status"] for line in logs] == [403]


BAD_HANDSHAKES = {
    "old version": ({"Sec-WebSocket-Version": "12"}, 400),
    "no key": ({"Sec-WebSocket-Key": ""}, 400),
    "bad key": ({"Sec-WebSocket-Key": "short"}, 400),
}


@pytest.mark.parametrize(("headers", "status"), BAD_HANDSHAKES.values(), ids=BAD_HANDSHAKES)
async def test_a_bad_handshake_is_refused_with_what_is_served(serve, headers, status):
    served = await serve(Echo())
    peer = await served.peer()
    with structlog.testing.capture_logs() as logs:
        peer.send(head("GET", "/ws?token=s3cret", {**UPGRADE, **headers}))
        answer = await peer.answer()
        assert await peer.ended() == b""
    assert answer.status == status
    assert answer.headers["sec-websocket-version"] == "13"
    assert answer.error["message"]
    assert [(line["path"], line["status"]) for line in logs] == [("/ws", status)]
    assert served.scopes == []


async def test_a_post_is_no_handshake(serve):
    served = await serve(Echo())
    peer = await served.peer()
    peer.send(head("POST", "/ws", UPGRADE))
    assert (await peer.answer()).status == 405
    assert served.scopes == []


async def test_a_subprotocol_is_echoed_and_headers_are_sent(serve):
    served = await serve(Echo(subprotocol="one", headers=[(b"x-one", b"1")]))
    peer = await served.peer()
    answer = await peer.open(Sec_WebSocket_Protocol="one, secret.token")
    assert answer.headers["sec-websocket-protocol"] == "one"
    assert answer.headers["x-one"] == "1"


# --- our faults ---


@pytest.mark.parametrize("raises", [True, False])
async def test_an_application_that_fails_after_the_accept_is_closed_1011(
    serve, raises, expected_faults
):
    expected_faults.add("application failed")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        if raises:
            raise ZeroDivisionError("secret detail")

    served = await serve(app)
    peer = await served.peer()
    await peer.open()
    assert await peer.closing() == (1011, "internal error")


@pytest.mark.parametrize("raises", [True, False])
async def test_an_application_that_fails_before_the_accept_gets_500(serve, raises, expected_faults):
    expected_faults.add("application failed")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if raises:
            raise ZeroDivisionError("secret detail")

    served = await serve(app)
    peer = await served.peer()
    peer.upgrade()
    answer = await peer.answer()
    assert (answer.status, answer.error) == (500, {"code": "INTERNAL", "message": "internal error"})


# --- logs ---


async def test_an_accepted_connection_leaves_no_line_with_its_query(serve, caplog):
    for name in (None, "uvicorn.error"):
        caplog.set_level(logging.DEBUG, name)
    served = await serve(Echo())
    peer = await served.peer()
    await peer.open("/ws?token=s3cret", Authorization="Bearer s3cret")
    peer.frame(TEXT, b"s3cret")
    assert await peer.text() == "s3cret"
    assert "s3cret" not in caplog.text
    assert "/ws" not in caplog.text


async def test_a_later_logging_configuration_does_not_bring_those_lines_back(serve, caplog):
    loggers = {"gateway": {"level": "DEBUG"}, "uvicorn": {"level": "DEBUG"}}
    later = {"version": 1, "incremental": False, "disable_existing_loggers": False}
    logging.config.dictConfig({**later, "loggers": loggers})
    try:
        served = await serve(Echo())
        peer = await served.peer()
        await peer.open("/ws?token=s3cret")
        assert "s3cret" not in caplog.text
        assert "/ws" not in caplog.text
    finally:
        logging.config.dictConfig(settings.LOGGING)


async def test_a_protocol_error_is_one_line_without_a_traceback(serve):
    with structlog.testing.capture_logs() as logs:
        await closing_after(serve, frame(TEXT, b"\xff"))
        await closing_after(serve, frame(TEXT, declared=2**62))
        await closing_after(serve, frame(3))
    assert [line["event"] for line in logs] == ["websocket read error"] * 3
    assert [line["code"] for line in logs] == [1007, 1009, 1002]
    assert all(line["reason"] and line["client"].startswith("127.0.0.1:") for line in logs)
    assert not any("exc_info" in line for line in logs)


async def test_a_client_library_sees_the_same_close(serve):
    app = Scripted()
    served = await serve(app)
    async with websockets.connect(f"ws://127.0.0.1:{served.port}/ws") as client:
        await app.ready.wait()
        app.writer.write_text("hello")
        assert await client.recv() == "hello"
        app.writer.close(4010, "no connect")
        with pytest.raises(websockets.ConnectionClosed) as ended:
            await client.recv()
    assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (4010, "no connect")
