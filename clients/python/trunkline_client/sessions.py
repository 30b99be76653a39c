"""`SessionClient`: watch a session, speak in it, steer it. See README.md."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlunsplit

from trunkline_client.connection import Door, Loss, Timing
from trunkline_client.credentials import Secret, shown
from trunkline_client.edge import Replaced
from trunkline_client.live import REVOKED, LiveClient, QueueFull, Revoked
from trunkline_client.questions import Frame, Questions
from trunkline_client.story import Resumed, Story

STORED = {"user", "assistant", "result", "system"}
KEEP_ALIVE = {"type": "keep_alive"}
NOT_FOUND, REPLACED = 4001, 4009
NOT_FOUND_TRIES = 3
RECONNECT_S = 0.5
# PROTOCOLS.md 3.8: two seconds, always; and what is usual, for who never gives up.
FIXED = Timing(pong_within_s=30.0, first_delay_s=2.0, longest_delay_s=2.0, jitter=0.0)
GROWING = Timing(pong_within_s=30.0)

Content = str | Sequence[Mapping[str, Any]]


class Refused(Exception):
    """The server's or the worker's word against a request."""


class NotFound(Exception):
    """There is no such session, or it is somebody else's."""


class GaveUp(Exception):
    """As many attempts as may follow each other have failed."""


class SessionLink(LiveClient[Frame | Resumed]):
    """What a viewer and a worker share: the address, the tries, what is said until answered."""

    def __init__(
        self,
        url: str,
        session: str,
        token: Secret,
        *,
        part: str,
        story: Story,
        organization: str,
        max_retries: int | None,
        queue_max: int,
        inbox_max: int,
        timing: Timing | None,
        chance: Callable[[], float],
        options: Mapping[str, Any] | None,
    ) -> None:
        if not session:
            raise ValueError("session: may not be empty")
        self._path = f"/v1/sessions/ws/{quote(session, safe='')}/{part}"
        self._token, self._organization = token, organization
        self._story = story
        self._max_retries = max_retries
        self._tries = self._not_found = 0
        self._leaving = False  # because `reconnect` was called
        self._owed: dict[str, tuple[Frame, list[asyncio.Future[Frame]]]] = {}
        self._inside = asyncio.Event()  # all was told on this connection
        self._timing = timing or (GROWING if max_retries is None else FIXED)
        super().__init__(
            session,
            url,
            ping=KEEP_ALIVE,
            renewable=False,
            queue_max=queue_max,
            inbox_max=inbox_max,
            timing=self._timing,
            chance=chance,
            options=options,
            ping_frames=True,
            delay=self._delay,
        )

    def is_connected(self) -> bool:
        return self._inside.is_set()

    async def reconnect(self) -> None:
        """Dial anew, half a second after a connection is closed, with all tries before it."""
        self._tries = self._not_found = 0
        self._leaving = self._connection.open
        await self._connection.leave()

    async def _answer_to(self, request_id: str, frame: Frame) -> Frame:
        """Say something, again on each connection until it is answered.

        Raises QueueFull, Refused, and what the end came with.
        """
        if self._over is not None:
            raise self._over
        said = request_id in self._owed
        if not said and len(self._owed) >= self._queue_max:
            raise QueueFull(f"{self._name}: {self._queue_max} wait already")
        _, answers = self._owed.setdefault(request_id, (frame, []))
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        answers.append(answer)
        try:
            if not said:
                async with self._line:
                    if self._inside.is_set():
                        await self._tell(frame)
            return await answer
        finally:
            answers.remove(answer)
            if not answers:
                self._owed.pop(request_id, None)

    def _answered(self, request_id: str, response: Frame) -> None:
        _, answers = self._owed.get(request_id, (None, []))
        for answer in answers:
            if answer.done():
                continue
            if response.get("subtype") == "error":
                answer.set_exception(Refused(str(response.get("error"))))
            else:
                answer.set_result(response.get("response") or {})

    # --- the wire ---

    async def _door(self) -> Door:
        asked = {"organization_uuid": self._organization, **self._story.ask()}
        query = urlencode({name: value for name, value in asked.items() if value})
        parts = self._parts._replace(
            path=self._parts.path.rstrip("/") + self._path,
            query="&".join(filter(None, (self._parts.query, query))),
            fragment="",
        )
        token = await shown(self._token, self._name)
        return Door(urlunsplit(parts), {"Authorization": f"Bearer {token}"})

    async def _greet(self) -> None:
        """The path has said it all."""

    async def _greeted(self) -> None:
        self._tries = self._not_found = 0
        resumed = self._story.told()
        if resumed is not None:
            await self._inbox.put(resumed)
        async with self._line:
            self._inside.set()
            for frame, _ in list(self._owed.values()):
                await self._tell(frame)

    def lost(self, loss: Loss, delay_s: float | None) -> None:
        self._inside.clear()
        super().lost(loss, delay_s)

    # --- coming back ---

    def _is_final(self, loss: Loss) -> bool:
        if loss.code == NOT_FOUND:
            self._not_found += 1
            return self._not_found > NOT_FOUND_TRIES
        if loss.code in (REVOKED, REPLACED):
            return True
        if self._leaving:
            return False
        self._tries += 1
        return self._max_retries is not None and self._tries > self._max_retries

    def _delay(self, loss: Loss) -> float | None:
        if self._leaving:
            self._leaving = False
            return RECONNECT_S
        if loss.code == NOT_FOUND:
            return FIXED.first_delay_s * self._not_found
        return self._timing.first_delay_s if self._max_retries is not None else None

    def _last_word(self, loss: Loss) -> Exception:
        kinds = {REVOKED: Revoked, REPLACED: Replaced, NOT_FOUND: NotFound}
        return kinds.get(loss.code, GaveUp)(f"{self._name}: {loss}")

    def _ended(self) -> None:
        error = self._over or RuntimeError(f"{self._name} is closed")
        for answer in [one for _, answers in self._owed.values() for one in answers]:
            if not answer.done():
                answer.set_exception(error)
        self._inside.set()  # who waits for it looks at the end


class SessionClient(SessionLink):
    """One session, over one connection after another.

    `async for` gives its frames as `dict`, stored events and questions once each, and `Connected`,
    `Resumed`, `Lost`. `token` may be a function, plain or async, asked at each attempt. `replay`
    begins with the newest stored events, `after_id` behind one. `max_retries=None` never gives up.
    """

    def __init__(
        self,
        url: str,
        session: str,
        token: Secret,
        *,
        organization: str = "",
        replay: bool = False,
        after_id: str = "",
        max_retries: int | None = 5,
        queue_max: int = 1000,
        inbox_max: int = 1000,
        timing: Timing | None = None,
        chance: Callable[[], float] = random.random,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Raises ValueError for a wrong address."""
        self._questions = Questions()
        self._look = ""
        super().__init__(
            url,
            session,
            token,
            part="subscribe",
            story=Story(after_id=after_id, replay=replay),
            organization=organization,
            max_retries=max_retries,
            queue_max=queue_max,
            inbox_max=inbox_max,
            timing=timing,
            chance=chance,
            options=options,
        )

    @property
    def queued(self) -> int:
        """How much was said and is not answered yet."""
        return len(self._owed)

    async def send_message(self, content: Content, *, event_id: str = "") -> None:
        """Say something; returns when it is stored. Raises QueueFull, Refused, Revoked, …"""
        event_id = event_id or str(uuid.uuid4())
        message = {"role": "user", "content": content}
        frame = {"type": "user", "uuid": event_id, "session_id": "", "message": message}
        await self._answer_to(event_id, {**frame, "parent_tool_use_id": None})

    async def send_control_request(self, subtype: str, **request: Any) -> Frame:
        """The answer. Raises Refused with its error, QueueFull, Revoked, …"""
        request_id = str(uuid.uuid4())
        asked = {"subtype": subtype, **request}
        frame = {"type": "control_request", "request_id": request_id, "request": asked}
        return await self._answer_to(request_id, frame)

    async def answer(self, request_id: str, response: Mapping[str, Any]) -> None:
        """To a question: `{"behavior": "allow", "updatedInput": {…}}` or `deny` with a `message`.

        Without a connection it is said when there is one and the question is still open.
        """
        frame = self._questions.answer(request_id, response)
        async with self._line:
            if self._inside.is_set():
                await self._tell(frame)

    async def _greeted(self) -> None:
        await super()._greeted()
        self._look = str(uuid.uuid4())
        self._questions.look()
        asked = {"subtype": "initialize"}
        await self._tell({"type": "control_request", "request_id": self._look, "request": asked})

    async def _hear(self, frame: Mapping[str, Any]) -> None:
        said = dict(frame)
        kind, request_id = said.get("type"), str(said.get("request_id"))
        match said:
            case {"type": "keep_alive"}:
                await self._pong()
                return
            case {"type": "control_response", "response": {"request_id": str(answered)}}:
                refused = said["response"].get("subtype") == "error"
                if answered == self._look:
                    if not refused:
                        await self._compare(said["response"].get("response") or {})
                    return
                if refused:
                    self._questions.refused(answered)
                self._answered(answered, said["response"])
            case {"type": "control_request"} if not self._questions.asked(request_id):
                return
            case {"type": "control_cancel_request"}:
                self._questions.settled(request_id)
            case {"uuid": str(event_id)} if kind in STORED:
                if not self._story.heard(event_id):
                    return
                self._answered(event_id, {"subtype": "success"})
        await self._inbox.put(said)

    async def _compare(self, initialized: Frame) -> None:
        pending = initialized.get("pending_permission_requests") or []
        for tell, frame in list(self._questions.compare(pending)):
            await (self._inbox.put(frame) if tell else self._tell(frame))
