"""`SessionWorker`: serves a session, a turn at a time. See README.md."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from trunkline_client.connection import Timing
from trunkline_client.credentials import Secret
from trunkline_client.questions import Frame
from trunkline_client.sessions import Content, Refused, SessionLink
from trunkline_client.story import Story

log = logging.getLogger("trunkline_client")

REMEMBERED = 1000  # answers to requests that may come again

Control = Callable[[Frame], Awaitable[Mapping[str, Any]]]


class Unsupported(Exception):
    """Raised by a handler of control requests for a subtype that it does not know."""


class Turn:
    """What was said, and the ways to answer it. `interrupt` cancels the handler."""

    def __init__(self, worker: SessionWorker, frame: Frame) -> None:
        self._worker = worker
        self.frame = frame

    @property
    def content(self) -> Content:
        content: Content = self.frame["message"]["content"]
        return content

    @property
    def text(self) -> str:
        """The words of the message, without its other blocks."""
        if isinstance(self.content, str):
            return self.content
        texts = (block.get("text") for block in self.content if block.get("type") == "text")
        return "\n".join(str(text) for text in texts)

    def more(self) -> list[Turn]:
        """What else was said since; what is not taken here begins the next turn."""
        return self._worker.take()

    async def stream(self, text: str) -> None:
        """A piece of what is being said: shown to who watches now, and not kept."""
        delta = {"type": "text_delta", "text": text}
        event = {"type": "content_block_delta", "index": 0, "delta": delta}
        await self._worker.show({"type": "stream_event", "event": event})

    async def say(self, content: Content) -> None:
        """Something whole; returns when it is stored."""
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        message = {"id": f"msg_{uuid.uuid4().hex}", "type": "message", "role": "assistant"}
        await self._worker.say({"type": "assistant", "message": {**message, "content": blocks}})

    async def ask(self, tool_name: str, tool_input: Mapping[str, Any], **more: Any) -> Frame:
        """Whether a tool may be used: `{"behavior": "allow" or "deny", …}`, whenever it comes."""
        used = {"tool_name": tool_name, "tool_use_id": f"toolu_{uuid.uuid4().hex}"}
        return await self._worker.ask("can_use_tool", **used, input=dict(tool_input), **more)


class SessionWorker(SessionLink):
    """Serves one session until stopped: `await worker.run()`.

    `turn` is called with each message, one after another; what it returns is the result, what it
    raises the turn's failure. `control` answers what viewers ask (`initialize`, `set_model`, …);
    `interrupt` cancels the turn. `token`: an API key with the scope `sessions.work`.
    """

    def __init__(
        self,
        url: str,
        session: str,
        token: Secret,
        *,
        turn: Callable[[Turn], Awaitable[str | None]],
        control: Control | None = None,
        organization: str = "",
        after_id: str = "",
        max_retries: int | None = None,
        queue_max: int = 1000,
        inbox_max: int = 1000,
        timing: Timing | None = None,
        chance: Callable[[], float] = random.random,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Raises ValueError for a wrong address."""
        self._handle, self._control = turn, control
        self._turns: asyncio.Queue[Turn] = asyncio.Queue()
        self._taken = ""  # the id of the last message that a turn is about
        self._saying = asyncio.Lock()
        self._refusals: dict[str, str] = {}
        self._acting: asyncio.Task[str | None] | None = None
        self._controls: OrderedDict[str, asyncio.Task[None] | Frame] = OrderedDict()
        super().__init__(
            url,
            session,
            token,
            part="worker",
            story=Story(after_id=after_id, works=True),
            organization=organization,
            max_retries=max_retries,
            queue_max=queue_max,
            inbox_max=inbox_max,
            timing=timing,
            chance=chance,
            options=options,
        )

    async def run(self) -> None:
        """Until cancelled. Raises Replaced, Revoked, NotFound, GaveUp."""
        async with self:
            working = asyncio.create_task(self._work(), name=f"{self._name}: turns")
            try:
                async for _ in self:
                    pass
            finally:
                tasks = [one for one in self._controls.values() if isinstance(one, asyncio.Task)]
                for task in (working, *tasks):
                    task.cancel()
                await asyncio.gather(working, *tasks, return_exceptions=True)

    async def say(self, frame: Mapping[str, Any]) -> None:
        """An `assistant`, `user`, `system` or `result`; returns when it is stored.

        Raises Refused, and what the end came with.
        """
        said = {"uuid": str(uuid.uuid4()), "parent_tool_use_id": None, **frame}
        async with self._saying:
            while True:
                await self._inside.wait()
                if self._over is not None:
                    raise self._over
                await self._tell(said)
                # The server answers in order, and knows it by its uuid if it comes again.
                if await self._connection.ping():
                    break
        refusal = self._refusals.pop(said["uuid"], None)
        if refusal is not None:
            raise Refused(refusal)

    async def show(self, frame: Mapping[str, Any]) -> None:
        """A `stream_event`, `tool_progress` or the like: now or never."""
        if self._inside.is_set():
            await self._tell(frame)

    async def ask(self, subtype: str, **request: Any) -> Frame:
        """A question, which waits for a person's answer through whatever happens meanwhile.

        Cancelled, it is withdrawn. Raises what the end came with.
        """
        request_id = str(uuid.uuid4())
        asked = {"subtype": subtype, **request}
        frame = {"type": "control_request", "request_id": request_id, "request": asked}
        try:
            return await self._answer_to(request_id, frame)
        except asyncio.CancelledError:
            await self._tell({"type": "control_cancel_request", "request_id": request_id})
            raise

    def take(self) -> list[Turn]:
        """What was said and waits."""
        taken = [self._turns.get_nowait() for _ in range(self._turns.qsize())]
        for turn in taken:
            self._taken = turn.frame["uuid"]
        return taken

    # --- turns ---

    async def _work(self) -> None:
        while True:
            turn = await self._turns.get()
            self._taken = turn.frame["uuid"]
            self._acting = asyncio.create_task(self._act(turn), name=f"{self._name}: turn")
            try:
                await asyncio.wait([self._acting])
            finally:
                self._acting.cancel()
            try:
                await self._end(self._acting)
            except Refused as refused:
                log.warning("%s: the result was refused: %s", self._name, refused)

    async def _act(self, turn: Turn) -> str | None:
        result = await self._handle(turn)
        if not isinstance(result, str | None):
            raise TypeError("the handler of turns returns a text, or None")
        return result

    async def _end(self, acting: asyncio.Task[str | None]) -> None:
        """How the turn ended, whatever became of its handler."""
        error = None if acting.cancelled() else acting.exception()
        if error is not None:
            log.error("%s: the turn failed", self._name, exc_info=error)
        good = not acting.cancelled() and error is None
        why = "interrupted" if acting.cancelled() else type(error).__name__
        text = (acting.result() or "") if good else why
        subtype = "success" if good else "error_during_execution"
        ended = {"type": "result", "subtype": subtype, "is_error": not good, "result": text}
        ended["after_id"] = self._taken  # what came later is not answered yet
        try:
            await self.say(ended)
        except Refused as refused:  # as it is; but a turn that has no end is waited for
            log.error("%s: the result was refused: %s", self._name, refused)
            failed = {"subtype": "error_during_execution", "is_error": True}
            await self.say({**ended, **failed, "result": f"the result was refused: {refused}"})

    # --- what viewers ask ---

    async def _asked(self, request_id: str, request: Frame) -> None:
        subtype = str(request.get("subtype"))
        try:
            if subtype == "interrupt":
                if self._acting is not None:
                    self._acting.cancel()
                answer: Mapping[str, Any] = {}
            elif self._control is None:
                raise Unsupported
            else:
                answer = await self._control(request)
            said: Frame = {"subtype": "success", "response": dict(answer)}
            json.dumps(said)  # what cannot be written is the handler's failure
        except Unsupported:
            text = f"Unsupported control request subtype: {subtype}"
            said = {"subtype": "error", "error": text}
        except Exception as error:  # the worker goes on, whatever is asked of it
            log.error("%s: %s failed", self._name, subtype, exc_info=error)
            said = {"subtype": "error", "error": type(error).__name__}
        frame = {"type": "control_response", "response": {**said, "request_id": request_id}}
        self._controls[request_id] = frame
        while len(self._controls) > REMEMBERED:
            self._controls.popitem(last=False)
        await self._tell(frame)

    async def _hear(self, frame: Mapping[str, Any]) -> None:
        match frame:
            case {"type": "keep_alive"}:
                await self._pong()
            case {"type": "user", "uuid": str(event_id), "message": {"content": str() | list()}}:
                if self._story.heard(event_id):
                    self._turns.put_nowait(Turn(self, dict(frame)))
            case {"type": "control_request", "request_id": str(asked), "request": dict(request)}:
                known = self._controls.get(asked)
                if known is None:
                    self._controls[asked] = asyncio.create_task(self._asked(asked, request))
                elif not isinstance(known, asyncio.Task):
                    await self._tell(known)
            case {"type": "control_response", "response": {"request_id": str(answered)}}:
                response = frame["response"]
                if answered not in self._owed and response.get("subtype") == "error":
                    self._refusals[answered] = str(response.get("error"))
                self._answered(answered, response)
            case {"type": "control_cancel_request", "request_id": str(withdrawn)}:
                task = self._controls.get(withdrawn)
                if isinstance(task, asyncio.Task):
                    task.cancel()
