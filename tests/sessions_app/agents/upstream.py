"""An endpoint of a model, on loopback: each request is answered as the next script says."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any, Self

PATIENCE_S = 30


class Line:
    """One request, and the answer to it as it is written; `gone` is set when the peer hangs up."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.path, self.headers, self.body = "", dict[str, str](), dict[str, Any]()
        self.gone = asyncio.Event()

    async def read(self) -> None:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        first, *rest = head.strip().split("\r\n")
        self.path = first.split()[1]
        self.headers = {name.lower(): value for name, value in (one.split(": ", 1) for one in rest)}
        size = int(self.headers.get("content-length", 0))
        self.body = json.loads(await self._reader.readexactly(size) or b"{}")

    async def watch(self) -> None:
        with contextlib.suppress(ConnectionError):  # it has not read all that was said
            while await self._reader.read(1024):
                pass
        self.gone.set()

    async def head(
        self, status: int = 200, kind: str = "text/event-stream; charset=utf-8", **more: str
    ) -> None:
        lines = [f"HTTP/1.1 {status} Said", f"Content-Type: {kind}", "Transfer-Encoding: chunked"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode())
        await self._writer.drain()

    async def raw(self, data: bytes) -> None:
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self._writer.drain()

    async def tell(self, **chunk: Any) -> None:
        await self.raw(f"data: {json.dumps(chunk)}\n\n".encode())

    async def say(self, text: str, finish: str | None = None) -> None:
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
        await self.tell(choices=[choice])

    async def use(self, prompt: int, completion: int) -> None:
        usage = {"prompt_tokens": prompt, "completion_tokens": completion}
        await self.tell(choices=[], usage=usage | {"total_tokens": prompt + completion})

    async def end(self) -> None:
        """The end of the body as it should be."""
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    async def refuse(self, status: int, message: str = "", **headers: str) -> None:
        await self.head(status, "application/json", **headers)
        await self.raw(json.dumps({"error": {"message": message, "type": "x"}}).encode())
        await self.end()


Script = Callable[[Line], Awaitable[None]]


class Upstream:
    """The server; `lines` are the requests that have come. The last script answers all further."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.lines: list[Line] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        line = Line(reader, writer)
        watch = None
        try:
            await line.read()
            number = len(self.lines)
            self.lines.append(line)
            watch = asyncio.create_task(line.watch())
            await self.scripts[min(number, len(self.scripts) - 1)](line)
        except ConnectionError:
            line.gone.set()
        finally:
            if watch is not None:
                watch.cancel()
            writer.close()


async def good(line: Line) -> None:
    """An answer as it should be."""
    await line.head()
    await line.tell(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}}])
    await line.say("Hello ")
    await line.say("world", finish="stop")
    await line.use(7, 2)
    await line.raw(b"data: [DONE]\n\n")
    await line.end()


async def stall(line: Line) -> None:
    """Begins to answer, and then waits until the peer hangs up."""
    await line.head()
    await line.say("Hello ")
    await hung_up(line)


async def mute(line: Line) -> None:
    await hung_up(line)


async def hung_up(line: Line) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await line.gone.wait()


async def broken_off(line: Line) -> None:
    """Ends in the middle of the answer, without the end of the body."""
    await line.head()
    await line.say("Hello ")


def refusing(status: int, message: str = "", **headers: str) -> Script:
    async def script(line: Line) -> None:
        await line.refuse(status, message, **headers)

    return script


def writing(*parts: bytes) -> Script:
    """A stream of just these bytes, and the end of the body."""

    async def script(line: Line) -> None:
        await line.head()
        for part in parts:
            await line.raw(part)
        await line.end()

    return script
