"""The far end of the Python clients: says what a test tells it to, over a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

PATIENCE_S = 30.0


async def until(condition: Callable[[], Any], what: str = "what was awaited") -> Any:
    """What the condition says, once that is true; TimeoutError when it does not come."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (found := condition()):
                await asyncio.sleep(0.003)
            return found
    except TimeoutError:
        raise TimeoutError(f"{what} did not come") from None


def command(command_id: str, kind: str = "note", key: str = "data", **payload: Any) -> dict:
    said = {
        "command_id": command_id,
        "command_type": kind,
        "priority": payload.get("priority", "normal"),
        "timestamp": "2025-11-15T06:31:11Z",
        "payload": payload,
    }
    return {"type": "command", key: said}


class Visit:
    """One connection of a client, as the server sees it."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.headers = socket.request.headers
        self.path = socket.request.path
        self.frames: list[dict] = []
        self.texts: list[str] = []

    @property
    def acks(self) -> list[dict]:
        return [frame["data"] for frame in self.frames if frame["type"] == "command_ack"]

    async def say(self, *frames: dict) -> None:
        for frame in frames:
            await self.socket.send(json.dumps(frame))

    async def acked(self, number: int) -> list[dict]:
        """The first `number` acknowledgements, once they are here."""
        await until(lambda: len(self.acks) >= number, f"{number} acknowledgements")
        return self.acks[:number]


class EdgeServer:
    """`async with EdgeServer() as server`. Answers pings while `pongs`; with `refuse` set,
    handshakes get that status."""

    PING: ClassVar[dict] = {"type": "ping"}
    PONG: ClassVar[dict] = {"type": "pong"}

    def __init__(self) -> None:
        self.visits: list[Visit] = []
        self.attempts = 0
        self.pongs = True
        self.refuse = 0
        self.refuse_headers: dict[str, str] = {}
        self.close_with: list[int] = []  # each new connection is closed with the next of these

    async def __aenter__(self) -> EdgeServer:
        self._server = await serve(
            self._visited, "127.0.0.1", 0, process_request=self._asked, close_timeout=1
        )
        return self

    async def __aexit__(self, *details: Any) -> None:
        self._server.close()
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        return next(iter(self._server.sockets)).getsockname()[1]

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def visit(self, number: int = 0) -> Visit:
        """The connection of this number, from 0, come or coming."""
        await until(lambda: len(self.visits) > number, f"connection {number}")
        return self.visits[number]

    async def drop(self) -> None:
        """Cut the newest connection without a word."""
        self.visits[-1].socket.transport.abort()

    def _asked(self, socket: ServerConnection, request: Request) -> Response | None:
        self.attempts += 1
        if not self.refuse:
            return None
        response = socket.respond(self.refuse, "no")
        for name, value in self.refuse_headers.items():
            response.headers[name] = value
        return response

    async def _visited(self, socket: ServerConnection) -> None:
        visit = Visit(socket)
        self.visits.append(visit)
        if self.close_with:
            await socket.close(self.close_with.pop(0), "as scripted")
            return
        try:
            await self.greet(visit)
            async for text in socket:
                visit.texts.append(text)
                visit.frames.append(json.loads(text))
                with suppress(ConnectionClosed):  # what it said before it left is read all the same
                    await self.heard(visit, visit.frames[-1])
        except ConnectionClosed:
            pass

    async def greet(self, visit: Visit) -> None:
        """Its first words."""

    async def heard(self, visit: Visit, frame: dict) -> None:
        if frame == self.PING and self.pongs:
            await visit.say(self.PONG)


class TopicServer(EdgeServer):
    """A subscription is answered without numbers, unless `answers` has a script for it."""

    PING: ClassVar[dict] = {"action": "ping"}
    PONG: ClassVar[dict] = {"type": "pong", "timestamp": 1762134869000}

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[list[dict]] = []  # to each `since`, in turn

    async def heard(self, visit: Visit, frame: dict) -> None:
        if frame.get("action") == "subscribe":
            plain = {"type": "subscribed", "channel": frame["channel"]}
            script: list[dict] = [plain]
            if "since" in frame and self.answers:
                script = self.answers.pop(0)
            await visit.say(*script)
        await super().heard(visit, frame)


class GroupServer(EdgeServer):
    """Each visit is greeted with the next of `answers`."""

    PING: ClassVar[dict] = {"msg_type": "heartbeat", "target": "echo"}
    PONG: ClassVar[dict] = {"msg_type": "heartbeat", "target": "echo", "from_id": "a"}

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[list[dict]] = []

    async def greet(self, visit: Visit) -> None:
        if self.answers:
            await visit.say(*self.answers.pop(0))


class SessionServer(EdgeServer):
    """`open_questions` are what `initialize` answers; `replays` is what each visit hears first."""

    PING: ClassVar[dict] = {"type": "keep_alive"}
    PONG: ClassVar[dict] = PING

    def __init__(self) -> None:
        super().__init__()
        self.open_questions: list[dict] = []
        self.looked = 0  # how often they were asked for
        self.refuse_looks = False
        self.replays: list[list[dict]] = []  # of each visit, in turn

    async def greet(self, visit: Visit) -> None:
        if self.replays:
            await visit.say(*self.replays.pop(0))

    async def heard(self, visit: Visit, frame: dict) -> None:
        if frame.get("request", {}).get("subtype") == "initialize":
            pending = {"pending_permission_requests": self.open_questions}
            answer = response(frame["request_id"], pending)
            if self.refuse_looks:
                answer["response"] |= {"subtype": "error", "response": None}
            await visit.say(answer)
            self.looked += 1
        await super().heard(visit, frame)


def response(request_id: str, answer: dict) -> dict:
    inner = {"subtype": "success", "request_id": request_id, "response": answer}
    return {"type": "control_response", "response": inner}
