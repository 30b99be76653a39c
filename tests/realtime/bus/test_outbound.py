from __future__ import annotations

import asyncio

import pytest

from realtime.bus import outbound as outbounds
from realtime.bus.outbound import Outbound, writer_of
from tests.doubles import until


class FakeWriter:
    def __init__(self):
        self.wrote, self.closed, self.waiting = [], [], 0

    def write_text(self, text):
        self.wrote.append(text)
        self.waiting += len(text)

    def buffered(self):
        return self.waiting

    def close(self, code, reason):
        self.closed.append((code, reason))


class FakeSend:
    """An ASGI `send` with a gate, for a peer that stops reading."""

    def __init__(self):
        self.sent, self.open = [], asyncio.Event()
        self.open.set()

    async def __call__(self, message):
        await self.open.wait()
        self.sent.append(message)


@pytest.fixture
def slow():
    return []


def outbound(send, writer, slow, max_bytes=100, max_frames=10):
    return Outbound(
        send, writer, max_bytes=max_bytes, max_frames=max_frames, on_slow=lambda: slow.append(1)
    )


async def test_texts_and_the_close_keep_their_order(slow):
    send = FakeSend()
    out = outbound(send, None, slow)
    out.text("a")
    out.text("b")
    out.close(4003, "revoked")
    out.text("after the close")
    await until(lambda: len(send.sent) == 3)
    assert [message.get("text") for message in send.sent[:2]] == ["a", "b"]
    assert send.sent[2] == {"type": "websocket.close", "code": 4003, "reason": "revoked"}
    assert slow == []


@pytest.mark.parametrize("texts", [["x" * 60, "x" * 60, "x"], ["x"] * 11], ids=["bytes", "frames"])
async def test_a_peer_that_does_not_read_is_slow(slow, texts):
    send = FakeSend()
    send.open.clear()
    out = outbound(send, None, slow)
    out.text("first")  # taken by the drain task, which then waits for the peer
    await asyncio.sleep(0)
    for text in texts:
        out.text(text)
    assert slow


async def test_a_peer_that_reads_is_never_slow(slow):
    send = FakeSend()
    out = outbound(send, None, slow)
    for _ in range(50):
        out.text("x" * 60)
        await until(lambda: not out.waiting_bytes)
    assert slow == []


async def test_one_task_at_a_time_drains_a_queue(slow):
    before = len(asyncio.all_tasks())
    send = FakeSend()
    send.open.clear()
    out = outbound(send, None, slow)
    for _ in range(5):
        out.text("x")
        await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == before + 1
    out.gone()
    await until(lambda: len(asyncio.all_tasks()) == before)


async def test_a_writer_is_written_to_directly(slow):
    writer = FakeWriter()
    out = outbound(FakeSend(), writer, slow)
    out.text("a")
    out.close(1012, "restart")
    out.text("late")
    assert writer.wrote == ["a"]
    assert writer.closed == [(1012, "restart")]


async def test_a_writer_whose_buffer_grew_over_the_limit_is_slow(slow):
    writer = FakeWriter()
    out = outbound(FakeSend(), writer, slow)
    out.text("x" * 100)
    out.text("x")
    assert slow == []
    out.text("x")
    assert slow
    assert len(writer.wrote) == 2


@pytest.mark.parametrize("writer", [None, FakeWriter()], ids=["queue", "writer"])
async def test_one_large_answer_does_not_make_a_slow_reader(slow, writer):
    send = FakeSend()
    out = outbound(send, writer, slow)
    out.text("x" * 5000)
    await until(lambda: send.sent or (writer and writer.wrote))
    assert slow == []


async def test_a_peer_that_is_gone_costs_nothing(slow):
    async def send(message):
        raise ConnectionResetError

    out = outbound(send, None, slow)
    out.text("a")
    await until(lambda: out._task is None)
    assert out.waiting_bytes == 0


def test_only_our_own_server_offers_a_writer():
    writer = FakeWriter()
    assert writer_of({}) is None
    assert writer_of({"extensions": {"gateway.writer": writer}}) is writer


async def test_room_is_when_half_of_what_may_wait_is_free(slow):
    writer = FakeWriter()
    out = outbound(FakeSend(), writer, slow, max_bytes=100)
    writer.waiting = 51
    asking = asyncio.create_task(out.room(lambda: False))
    await asyncio.sleep(0)
    assert not asking.done()
    writer.waiting = 50
    assert await asking


async def test_room_is_counted_in_frames_where_frames_are_queued(slow):
    send = FakeSend()
    send.open.clear()
    out = outbound(send, None, slow, max_frames=10)
    for _ in range(7):
        out.text("")
    asking = asyncio.create_task(out.room(lambda: False))
    await asyncio.sleep(0)
    assert not asking.done()
    send.open.set()
    assert await asking


async def test_there_is_no_room_for_a_peer_that_reads_nothing(slow, monkeypatch):
    monkeypatch.setattr(outbounds, "ROOM_TIMES", 2)
    writer = FakeWriter()
    out = outbound(FakeSend(), writer, slow, max_bytes=100)
    writer.waiting = 100
    assert not await out.room(lambda: False)
    writer.waiting = 0
    assert not await out.room(lambda: True)


async def test_a_peer_that_is_gone_keeps_nobody_waiting(slow):
    writer = FakeWriter()
    out = outbound(FakeSend(), writer, slow, max_bytes=100)
    writer.waiting = 100
    out.gone()
    assert await out.room(lambda: False)
