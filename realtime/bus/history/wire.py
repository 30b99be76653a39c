"""Wire: one connection to Redis that never says a command twice.

redis-py's clients repeat what may have been done already, and a message appended twice has two
offsets. Here a batch is written at once, its answers are read in order, and whatever goes wrong
ends the connection: the next one begins by asking what Redis it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog
from redis import asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

logger = structlog.get_logger("gateway")

TICKS, TICK_S = 4, 0.5  # the patience: in ticks, since a process that was stopped has slept one
LOST = (RedisError, OSError, asyncio.TimeoutError)
ENDED = (RedisConnectionError, ConnectionError)  # an answer cannot come any more

Command = Sequence[str | bytes | int]

# What Redis calls this connection, and which run of Redis does: another one begins again at 1.
_RUN = "return redis.call('INFO', 'server'):match('run_id:(%w+)')"
_NAME: Sequence[Command] = [("EVAL", _RUN, 0), ("CLIENT", "ID")]


class Stale(ConnectionError):
    """The connection had ended before: nothing has been written."""


class Wire:
    def __init__(self, url: str) -> None:
        self._pool = aioredis.ConnectionPool.from_url(
            url, retry=Retry(NoBackoff(), 0), socket_connect_timeout=TICKS * TICK_S
        )
        self._connection: Any = None
        self._run, self._client = b"", 0
        self._turn = asyncio.Lock()

    @property
    def open(self) -> bool:
        return self._connection is not None

    async def connect(self, hello: Sequence[Command]) -> list[Any]:
        """A new connection, and its answers to `hello`, which comes before anything else. Raises
        one of LOST. What the old one had written and Redis has not read will not be done, if Redis
        lets us end it (`CLIENT KILL`).
        """
        async with self._turn:
            await self.close()
            connection = self._pool.make_connection()
            try:
                await within_patience(connection.connect())
                run, client = sound(await within_patience(self._exchange(connection, _NAME)))
                if run == self._run:  # in another run that is a stranger's number
                    await self._end_old(connection)
                answers = await within_patience(self._exchange(connection, hello))
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            self._connection, self._run, self._client = connection, run, client
            return answers

    async def _end_old(self, connection: Any) -> None:
        kill = ("CLIENT", "KILL", "ID", self._client)
        (answer,) = await within_patience(self._exchange(connection, [kill]))
        if isinstance(answer, Exception):
            logger.warning("history.old_connection_stays", error=str(answer)[:200])

    async def call(self, commands: Sequence[Command]) -> list[Any]:
        """The answers, in order, a refused command's as its exception.

        Raises Stale, or one of LOST.
        """
        async with self._turn:
            connection = await self._sound()
            if connection is None:
                raise Stale
            try:
                return await within_patience(self._exchange(connection, commands))
            except BaseException:  # also when cancelled: half an answer may be on its way
                await self.close()
                raise

    async def has_ended(self) -> bool:
        """Whether Redis has closed it."""
        async with self._turn:
            return await self._sound() is None

    async def _sound(self) -> Any:
        if self._connection is not None and await _has_ended(self._connection):
            await self.close()
        return self._connection

    async def _exchange(self, connection: Any, commands: Sequence[Command]) -> list[Any]:
        await connection.send_packed_command(connection.pack_commands(commands))
        answers = []
        for _ in commands:
            try:
                answers.append(await connection.read_response())
            except ResponseError as error:
                answers.append(error)
        return answers

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)


def sound(answers: Sequence[Any]) -> Sequence[Any]:
    """`answers`. Raises what Redis refused."""
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


async def _has_ended(connection: Any) -> bool:
    try:  # Redis says nothing unasked, except goodbye
        return bool(await connection.can_read_destructive())
    except LOST:
        return True


async def within_patience(work: Any) -> Any:
    """As `wait_for`, but a process that was stopped gets the time to read what has come."""
    task = asyncio.ensure_future(work)
    # How it ends is nobody's business once it has been given up.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        for _ in range(TICKS):
            done, _ = await asyncio.wait([task], timeout=TICK_S)
            if done:
                return task.result()
    finally:
        task.cancel()
    raise TimeoutError
