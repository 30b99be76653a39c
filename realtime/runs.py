"""Runs: the agents' work in this process.

One task for each active run; the connection that asked may go, the run goes on. A chunk is
published as it comes, after the committed `run.started`; the asker's answer follows the committed
end. Source: PROTOCOLS.md 2.7.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from realtime import metrics
from realtime.bus.hub import Hub
from realtime.core.errors import Draining, InternalFault, ResourceExhausted
from realtime.core.events import RUN_ENDED, Event
from realtime.threads import housekeeping, in_thread
from sessions_app import agents
from sessions_app.services import agent_choice
from sessions_app.services import runs as records
from sessions_app.services.chat import Sent

logger = structlog.get_logger("gateway")

Answer = dict[str, Any]
RETRY_S = 1.0  # until the end of a run is recorded
MOST_QUEUED = 10  # messages that wait for one session


class Runs:
    """The active runs of this process. `hear(id)` waits until an announcement came by here."""

    def __init__(self, hub: Hub, hear: Callable[[int], Awaitable[None]]) -> None:
        self._hub = hub
        self._hear = hear
        self._active: dict[str, _Active] = {}
        self._elsewhere: dict[str, _Elsewhere] = {}
        self._queued: dict[tuple[str, str], list[_Queued]] = {}  # by account and session key
        self._draining = False

    @property
    def active(self) -> list[str]:
        """The ids of the runs that this process is at work on."""
        return list(self._active)

    def refuse_while_draining(self) -> None:
        if self._draining:
            raise Draining

    def answer(self, sent: Sent) -> Answer | asyncio.Future[Answer]:
        """What `chat.send` is answered with, now or at the end of its run."""
        if sent.outcome == "started":
            active = self._active[sent.run_id] = _Active(sent)
            active.task = asyncio.create_task(self._drive(active))
            return active.asked()
        if sent.outcome in ("repeated", "handed"):
            return self._end_of(sent)
        return _or_raise(sent.result)

    def queue(self, sent: Sent, send: Callable[[], Awaitable[Sent]]) -> asyncio.Future[Answer]:
        """The answer to a message that waits for the end of a run (`busy`) and is sent again then.

        Those that wait take their turns in the order in which they came. Raises ResourceExhausted.
        """
        key = (sent.run.account if sent.run else "", sent.session_key)
        line = self._queued.setdefault(key, [])
        if len(line) >= MOST_QUEUED:
            raise ResourceExhausted(f"{MOST_QUEUED} messages wait for this session already")
        queued = _Queued(self._end_of(sent))
        ahead = line[-1].task if line else None
        line.append(queued)
        queued.task = asyncio.create_task(self._take_turn(queued, ahead, send))
        queued.task.add_done_callback(lambda done: self._leave_line(key, queued))
        return queued.task

    def _leave_line(self, key: tuple[str, str], queued: _Queued) -> None:
        self._queued[key].remove(queued)
        if not self._queued[key]:
            del self._queued[key]
        if queued.task is not None and not queued.task.cancelled():
            queued.task.exception()  # an asker that went away does not read it

    async def _take_turn(
        self,
        queued: _Queued,
        ahead: asyncio.Task[Answer] | None,
        send: Callable[[], Awaitable[Sent]],
    ) -> Answer:
        if ahead is not None:  # answered: its own run is over as well
            await asyncio.wait([ahead])
        while True:
            with contextlib.suppress(InternalFault):  # how the other run ended is not our matter
                await queued.end
            self.refuse_while_draining()
            sent = await send()
            if sent.outcome != "busy":  # nobody was quicker
                break
            queued.end = self._end_of(sent)
        answer = self.answer(sent)
        return await answer if isinstance(answer, asyncio.Future) else answer

    def _end_of(self, sent: Sent) -> asyncio.Future[Answer]:
        """The answer of a run that is under way, here or elsewhere."""
        if sent.run_id in self._active:
            return self._active[sent.run_id].asked()
        return self._await_elsewhere(sent)

    def begin(self, sent: Sent) -> None:
        """Take on a run that was started elsewhere for this process; nobody here waits for it."""
        if sent.run_id not in self._active:
            self.answer(sent)

    def inject(self, run_id: str, text: str) -> None:
        if run_id in self._active:
            self._active[run_id].turn.injected.put_nowait(text)

    def abort(self, run_id: str) -> None:
        if run_id in self._active:
            self._active[run_id].stop()

    async def drain(self, within_s: float, last_s: float) -> None:
        """Take no new run and let the active ones end within `within_s` seconds.

        Those that do not are stopped and recorded as failed, for which `last_s` is left.
        """
        self._draining = True
        for queued in [one for line in self._queued.values() for one in line]:
            queued.wake()
        await self._ended(within_s)
        for active in list(self._active.values()):
            active.stop("server restarting")
        await self._ended(last_s)

    async def _ended(self, within_s: float) -> None:
        """Wait for every active run, also for one that is only just being started."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._active:
                    tasks = [run.task for run in self._active.values() if run.task is not None]
                    await asyncio.wait(tasks)

    async def _drive(self, active: _Active) -> None:
        """From the first piece to the recorded end; only the agent's work can be cancelled."""
        try:
            status, error = await self._outcome(active)
            announcement, answer = await self._record(active, status, error)
            metrics.RUNS.labels(status).inc()
            await self._hear(announcement)  # the answer comes after the run's last event
            active.resolve(answer)
        finally:
            self._active.pop(active.sent.run_id, None)

    async def _outcome(self, active: _Active) -> tuple[str, str]:
        """How the agent's work ended: a status and, for a failure, its words."""
        work = active.begin(self._work(active))
        await asyncio.wait([work])
        if work.cancelled():
            return ("failed", active.reason) if active.reason else ("cancelled", "")
        fault = work.exception()
        if fault is None:
            return "completed", ""
        if isinstance(fault, agents.AgentFailed):
            run, why = active.sent.run_id, str(fault)
            logger.warning("run.failed", run=run, why=why, detail=fault.detail)
            return "failed", why
        logger.error("run.failed", run=active.sent.run_id, exc_info=fault)
        return "failed", f"the agent failed ({type(fault).__name__})"

    async def _work(self, active: _Active) -> None:
        sent = active.sent
        history, abort_requested = await in_thread(records.begin, run_id=sent.run_id)
        if abort_requested:  # before this process knew the run
            raise asyncio.CancelledError
        active.turn.history.extend(history)
        agent = await in_thread(agent_choice.get, sent.agent)
        async for piece in agent.run(active.turn):
            if isinstance(piece, agents.Retrying):
                told = records.retrying(sent, piece)
                self._hub.publish([*sent.audience, *sent.watchers], told)
                continue
            active.content.append(piece)
            if sent.stream:
                chunk = records.chunk(sent, piece)
                self._hub.publish([*sent.audience, *sent.watchers], chunk)

    async def _record(self, active: _Active, status: str, error: str) -> tuple[int, Answer]:
        """Try until the database takes it: a run that is not ended blocks its session."""
        while True:
            try:
                return await housekeeping(
                    records.finish,
                    run_id=active.sent.run_id,
                    status=status,
                    content="".join(active.content),
                    usage=active.turn.usage,
                    error=error,
                )
            except Exception as fault:
                logger.error("run.not_recorded", run=active.sent.run_id, exc_info=fault)
                await asyncio.sleep(RETRY_S)

    def _await_elsewhere(self, sent: Sent) -> asyncio.Future[Answer]:
        waiting = self._elsewhere.get(sent.run_id)
        if waiting is None:
            waiting = self._elsewhere[sent.run_id] = _Elsewhere(sent)
            waiting.task = asyncio.create_task(self._follow_elsewhere(waiting))
        return waiting.asked()

    async def _follow_elsewhere(self, waiting: _Elsewhere) -> None:
        """Its end is announced, so listening needs no subscription; it may have come before."""
        for address in waiting.sent.audience:
            self._hub.join_here(address, waiting.heard)
        try:
            while (answer := await self._read(waiting.sent.run_id)) is None:
                await waiting.news.wait()
                waiting.news.clear()
            waiting.resolve(answer)
        finally:
            del self._elsewhere[waiting.sent.run_id]
            for address in waiting.sent.audience:
                await self._hub.leave(address, waiting.heard)

    async def _read(self, run_id: str) -> Answer | None:
        while True:
            try:
                return await in_thread(records.result, run_id=run_id)
            except Exception as fault:
                logger.error("run.not_read", run=run_id, exc_info=fault)
                await asyncio.sleep(RETRY_S)


class _Asked:
    """Several requests may wait for one run (a repeated messageId): each gets its own future."""

    def __init__(self, sent: Sent) -> None:
        self.sent = sent
        self.task: asyncio.Task[None] | None = None
        self._askers: list[asyncio.Future[Answer]] = []

    def asked(self) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        # An asker that went away leaves its future unread.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._askers.append(future)
        return future

    def resolve(self, answer: Answer) -> None:
        for future in self._askers:
            if future.done():
                continue
            try:
                future.set_result(_or_raise(answer))
            except InternalFault as fault:
                future.set_exception(fault)


class _Active(_Asked):
    """A run in progress here. `reason`: why it was stopped, if not because somebody asked."""

    def __init__(self, sent: Sent) -> None:
        super().__init__(sent)
        self.turn = agents.Turn(message=sent.message, model=sent.model)
        self.content: list[str] = []
        self.reason = ""
        self._stopped = False
        self._work: asyncio.Task[None] | None = None

    def begin(self, work: Any) -> asyncio.Task[None]:
        self._work = asyncio.create_task(work)
        if self._stopped:
            self._work.cancel()
        return self._work

    def stop(self, reason: str = "") -> None:
        if not self._stopped:
            self._stopped, self.reason = True, reason
        if self._work is not None:
            self._work.cancel()


class _Queued:
    """A message that waits for `end`, the answer of the run that is in its way."""

    def __init__(self, end: asyncio.Future[Answer]) -> None:
        self.end = end
        self.task: asyncio.Task[Answer] | None = None

    def wake(self) -> None:
        if not self.end.done():
            self.end.set_result({})


class _Elsewhere(_Asked):
    """A run in another process, awaited because its messageId was sent again here."""

    def __init__(self, sent: Sent) -> None:
        super().__init__(sent)
        self.news = asyncio.Event()

    def heard(self, event: Event) -> None:
        if event.data.get("runId") == self.sent.run_id and event.data.get("type") in RUN_ENDED:
            self.news.set()


def _or_raise(answer: Answer) -> Answer:
    if "error" in answer:
        raise InternalFault(f"internal error: {answer['error']}")
    return answer
