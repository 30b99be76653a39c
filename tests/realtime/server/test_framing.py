"""Sizes, frames and fragments of a WebSocket. Source: PROTOCOLS.md 0.2, 2.10; RFC 6455."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
import websockets

from tests.realtime.server.applications import LIMIT, MIB, Echo, Scripted, closing_after
from tests.realtime.server.conftest import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    UPGRADE,
    close_frame,
    frame,
    head,
    until,
)

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
