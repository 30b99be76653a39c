"""Applications behind a real server: one that echoes, one that does what a test says."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from tests.realtime.server.conftest import Serve, until

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
