"""An application that answers with what it has understood, and the refusals before it."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.realtime.server.conftest import Serve, head


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what was understood; echo on a WebSocket."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        return
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    else:
        return
    said = {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "headers": [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": body.decode(),
    }
    answer = json.dumps(said).encode()
    headers = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def refused(serve: Serve, data: bytes, status: int) -> str:
    """The message of the refusal that `data` meets, at once and before the application."""
    served = await serve(app)
    peer = await served.peer()
    began = time.monotonic()
    peer.send(data)
    answer = await peer.answer()
    assert time.monotonic() - began < 10
    assert answer.status == status, answer.body
    assert answer.headers["connection"] == "close"
    assert answer.headers["content-type"] == "application/json"
    assert await peer.ended() == b""
    assert served.scopes == []
    assert set(answer.error) == {"code", "message"}
    return answer.error["message"]


def with_headers(count: int) -> bytes:
    return head("GET", "/", {f"X-{number}": "y" for number in range(count)})
