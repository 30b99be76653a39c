"""Peers that are silent, that do not read, or that vanish. Source: PROTOCOLS.md 0.2, 0.3."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.realtime.server.applications import MIB, Echo, Scripted, slow_peer
from tests.realtime.server.conftest import (
    BINARY,
    PING,
    PONG,
    TEXT,
    frame,
    until,
)

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


# --- peers that do not read, and peers that vanish ---


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
