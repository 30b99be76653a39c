"""Acts on commands when they are due: each once, those of one conversation in order."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any

from trunkline_client.commands import Ack, Command, completed, failed
from trunkline_client.ledger import Ledger, OneThread

log = logging.getLogger("trunkline_client")

Handler = Callable[[Command], object]
INTERRUPTED = "Interrupted: whether it was carried out is unknown"
LONGEST_SLEEP_S = 30.0  # the wall clock may be set, and computers sleep


@dataclass(frozen=True)
class Work:
    """A handler, and whether it may begin anew when the process ended in the middle of it."""

    handler: Handler
    repeatable: bool = False


class Schedule:
    """`find` knows the handler of a type; `ended` is told each acknowledgement that was noted."""

    def __init__(
        self,
        ledger: Ledger,
        in_thread: OneThread,
        *,
        find: Callable[[str], Work | None],
        ended: Callable[[], None],
        now: Callable[[], float],
        concurrency: int,
    ) -> None:
        self._ledger = ledger
        self._in_thread = in_thread
        self._find = find
        self._ended = ended
        self._now = now
        self._concurrency = concurrency
        self._busy: dict[str, asyncio.Task[None]] = {}  # by lane
        self._wake = asyncio.Event()
        self._stopped = False
        self._broken: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    async def resume(self) -> None:
        """Settle what a crash interrupted: again if it may be repeated, else it failed."""
        for command in await self._in_thread(self._ledger.acting):
            work = self._find(command.type)
            if work is not None and work.repeatable:
                await self._in_thread(self._ledger.again, command.id)
            else:
                log.warning("command %s was interrupted and is not repeated", command.id)
                await self._in_thread(self._ledger.finish, failed(command.id, INTERRUPTED))

    async def run(self) -> None:
        """Until `finish`: never cancel it, it may be claiming. Raises what the disk does."""
        self._broken = asyncio.get_running_loop().create_future()
        while not self._stopped:
            self._wake.clear()
            await self._begin_what_is_due()
            until_s = await self._idle_s()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(until_s):
                    await self._wake.wait()
            if self._broken.done():
                self._broken.result()

    async def finish(self, within_s: float) -> None:
        """Begin nothing more and wait for what is acting; what is late is interrupted."""
        self._stopped = True
        self._wake.set()
        tasks = set(self._busy.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=within_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _begin_what_is_due(self) -> None:
        while len(self._busy) < self._concurrency and not self._stopped:
            command = await self._in_thread(self._ledger.claim, self._now(), list(self._busy))
            if command is None:
                return
            task = asyncio.create_task(self._perform(command), name=f"command {command.id}")
            self._busy[command.lane] = task
            task.add_done_callback(partial(self._done, command.lane))

    async def _idle_s(self) -> float:
        if len(self._busy) >= self._concurrency:
            return LONGEST_SLEEP_S
        due = await self._in_thread(self._ledger.next_due, list(self._busy))
        if due is None:
            return LONGEST_SLEEP_S
        return min(max(due - self._now(), 0.0), LONGEST_SLEEP_S)

    async def _perform(self, command: Command) -> None:
        ack = await self._outcome(command)
        await self._in_thread(self._ledger.finish, ack)
        self._ended()

    async def _outcome(self, command: Command) -> Ack:
        work = self._find(command.type)
        if work is None:  # it was known when the command came: the program has changed since
            return failed(command.id, f"Unknown command type: {command.type}")
        try:
            await call(work.handler, command)
        except Exception as error:
            log.warning("command %s failed", command.id, exc_info=True)
            return failed(command.id, str(error) or type(error).__name__)
        return completed(command.id, self._now())

    def _done(self, lane: str, task: asyncio.Task[None]) -> None:
        self._busy.pop(lane, None)
        self._wake.set()
        error = None if task.cancelled() else task.exception()
        if error is not None and self._broken is not None and not self._broken.done():
            self._broken.set_exception(error)


async def call(function: Callable[..., object], *args: object) -> object:
    """Call a plain function in a thread, a coroutine function here."""
    if inspect.iscoroutinefunction(function):
        result: object = function(*args)
    else:
        result = await _in_own_thread(partial(function, *args))
    return await result if isinstance(result, Awaitable) else result


async def _in_own_thread(function: Callable[[], object]) -> object:
    """What it returns or raises. One that hangs holds up neither other calls nor the exit.

    The loop's own pool would do both: it is shared and small, and it is waited for at the end.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[object] = loop.create_future()

    def settle(set_it: Callable[[Any], None], value: object) -> None:
        if not outcome.done():  # else nobody waits for it any more
            set_it(value)

    def work() -> None:
        try:
            ended = partial(settle, outcome.set_result, function())
        except BaseException as error:
            ended = partial(settle, outcome.set_exception, _tellable(error))
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(ended)

    threading.Thread(target=copy_context().run, args=(work,), name="handler", daemon=True).start()
    return await outcome


def _tellable(error: BaseException) -> Exception:
    """What a future can carry, and what fails one command instead of ending the agent."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}".removesuffix(": "))
