"""Codes, reasons, sends, refusals and faults of a WebSocket. Source: PROTOCOLS.md 0.2, 0.3."""

from __future__ import annotations

import json
import logging
import logging.config
from typing import Any

import pytest
import structlog
import websockets
from django.conf import settings

from realtime.server.frames import fitting, text_frame
from tests.realtime.server.applications import MIB, Echo, Scripted, closing_after, slow_peer
from tests.realtime.server.conftest import (
    CLOSE,
    TEXT,
    UPGRADE,
    close_frame,
    frame,
    head,
    until,
)

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
