"""The process that test_drain.py starts: GatewayServer with a small application, on a free port."""

from __future__ import annotations

import argparse
import asyncio
import socket
from typing import Any

import uvicorn

from realtime.server.drain import GatewayServer
from realtime.server.http import GatewayHttpProtocol
from realtime.server.websocket import GatewayWebSocketProtocol

released = asyncio.Event()


listener = socket.create_server(("127.0.0.1", 0))


async def app(scope: Any, receive: Any, send: Any) -> None:
    await {"http": page, "websocket": echo, "lifespan": lifespan}[scope["type"]](
        scope, receive, send
    )


async def page(scope: Any, receive: Any, send: Any) -> None:
    print("request", scope["path"])
    if scope["path"] == "/slow":
        await released.wait()
    if scope["path"] == "/endless":
        await asyncio.Event().wait()
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
        if message["text"] == "release":
            released.set()
    print("socket told", message["code"])
    await asyncio.sleep(0.1)  # what an application does to clean up
    print("socket cleaned up")


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    print("port", listener.getsockname()[1])  # from here on signals are handled
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("lifespan ended")
    await send({"type": "lifespan.shutdown.complete"})


class Server(GatewayServer):
    farewell_s = 0.5


async def drain(kind: str, within_s: float) -> None:
    print("drain begins", within_s)
    if kind == "until-told":
        await released.wait()
    elif kind == "forever":
        await asyncio.Event().wait()
    elif kind == "fails":
        raise ZeroDivisionError
    print("drain ends")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--drain-s", type=float, default=1.0)
    parser.add_argument("--application-drain", default="at-once")
    arguments = parser.parse_args()
    config = uvicorn.Config(
        app,
        http=GatewayHttpProtocol,
        ws=GatewayWebSocketProtocol,
        lifespan="on",
        log_config=None,
        timeout_keep_alive=30,
    )
    server = Server(
        config,
        drain_s=arguments.drain_s,
        on_drain=lambda within_s: drain(arguments.application_drain, within_s),
    )
    server.run(sockets=[listener])


if __name__ == "__main__":
    main()
