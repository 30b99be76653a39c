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
from realtime.core.errors import Draining, InternalFault
from realtime.core.events import Event
from realtime.threads import in_thread
from sessions_app import agents
from sessions_app.services import runs as records
from sessions_app.services.chat import Sent

logger = structlog.get_logger("gateway")

Answer = dict[str, Any]
ENDED = frozenset({"run.completed", "run.failed", "run.cancelled"})


class Runs:
    """The active runs of this process. `hear(id)` waits until an announcement came by here."""

    def __init__(self, hub: Hub, hear: Callable[[int], Awaitable[None]]) -> None:
        self._hub = hub
        self._hear = hear
        self._active: dict[str, _Active] = {}
        self._elsewhere: dict[str, _Elsewhere] = {}
        self._draining = False

    def refuse_while_draining(self) -> None:
        if self._draining:
            raise Draining

    def answer(self, sent: Sent) -> Answer | asyncio.Future[Answer]:
        """What `chat.send` is answered with, now or at the end of its run."""
        if sent.outcome == "started":
            active = _Active(sent)
            self._active[sent.run_id] = active
            active.task = asyncio.create_task(self._drive(active))
            return active.asked()
        if sent.outcome == "repeated":
            if sent.run_id in self._active:
                return self._active[sent.run_id].asked()
            return self._await_elsewhere(sent)
        if "error" in sent.result:
            raise InternalFault(f"internal error: {sent.result['error']}")
        return sent.result

    def inject(self, run_id: str, text: str) -> None:
        if run_id in self._active:
            self._active[run_id].turn.injected.put_nowait(text)

    def abort(self, run_id: str) -> None:
        if run_id in self._active:
            self._active[run_id].abort()

    async def drain(self, within_s: float) -> None:
        """Take no new run and let the active ones end; those that do not are recorded as failed."""
        self._draining = True
        await self._ended(within_s)
        for active in list(self._active.values()):
            active.stop("server restarting")
        await self._ended(2.0)

    async def _ended(self, within_s: float) -> None:
        """Wait for every active run, also for one that is only just being started."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._active:
                    tasks = [run.task for run in self._active.values() if run.task is not None]
                    await asyncio.wait(tasks)

    async def _drive(self, active: _Active) -> None:
        status, error = "completed", ""
        try:
            await self._work(active)
        except asyncio.CancelledError:
            status, error = ("failed", active.stopped) if active.stopped else ("cancelled", "")
        except Exception as fault:
            logger.error("run.failed", run=active.sent.run_id, exc_info=fault)
            status, error = "failed", f"the agent failed ({type(fault).__name__})"
        try:
            await self._finish(active, status, error)
        except Exception as fault:
            logger.error("run.not_recorded", run=active.sent.run_id, exc_info=fault)
            active.resolve(InternalFault())
        finally:
            self._active.pop(active.sent.run_id, None)

    async def _work(self, active: _Active) -> None:
        sent = active.sent
        active.turn.history.extend(await in_thread(records.history, run_id=sent.run_id))
        agent = agents.get(sent.agent)
        async for piece in agent.run(active.turn):
            active.content.append(piece)
            if sent.stream:
                self._hub.publish(sent.audience, records.chunk(sent, piece))

    async def _finish(self, active: _Active, status: str, error: str) -> None:
        announcement, answer = await in_thread(
            records.finish,
            run_id=active.sent.run_id,
            status=status,
            content="".join(active.content),
            usage=active.turn.usage,
            error=error,
        )
        metrics.RUNS.labels(status).inc()
        await self._hear(announcement)  # the answer comes after the run's last event
        if "error" in answer:
            active.resolve(InternalFault(f"internal error: {answer['error']}"))
        else:
            active.resolve(answer)

    def _await_elsewhere(self, sent: Sent) -> asyncio.Future[Answer]:
        waiting = self._elsewhere.get(sent.run_id)
        if waiting is None:
            waiting = self._elsewhere[sent.run_id] = _Elsewhere(self, self._hub, sent)
        return waiting.asked()

    def forget(self, run_id: str) -> None:
        self._elsewhere.pop(run_id, None)


class _Asked:
    """Several requests may wait for one run (a repeated messageId): each gets its own future."""

    def __init__(self) -> None:
        self._askers: list[asyncio.Future[Answer]] = []

    def asked(self) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        # An asker that went away leaves its future unread.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._askers.append(future)
        return future

    def resolve(self, answer: Answer | Exception) -> None:
        for future in self._askers:
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)


class _Active(_Asked):
    """A run in progress here."""

    def __init__(self, sent: Sent) -> None:
        super().__init__()
        self.sent = sent
        self.turn = agents.Turn(message=sent.message, model=sent.model)
        self.content: list[str] = []
        self.stopped = ""
        self.task: asyncio.Task[None] | None = None

    def abort(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def stop(self, reason: str) -> None:
        self.stopped = reason
        self.abort()


class _Elsewhere(_Asked):
    """A run in another process, awaited because its messageId was sent again here."""

    def __init__(self, runs: Runs, hub: Hub, sent: Sent) -> None:
        super().__init__()
        self._runs = runs
        self._hub = hub
        self._sent = sent
        self._task: asyncio.Task[None] | None = None
        for address in sent.audience:
            hub.join_here(address, self._heard)  # its end is announced: no subscription needed
        self._look()  # it may have ended before we listened

    def _heard(self, event: Event) -> None:
        if event.data.get("runId") == self._sent.run_id and event.data.get("type") in ENDED:
            self._look()

    def _look(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        answer = await in_thread(records.result, run_id=self._sent.run_id)
        if answer is None:
            return
        for address in self._sent.audience:
            await self._hub.leave(address, self._heard)
        self._runs.forget(self._sent.run_id)
        if "error" in answer:
            self.resolve(InternalFault(f"internal error: {answer['error']}"))
        else:
            self.resolve(answer)
