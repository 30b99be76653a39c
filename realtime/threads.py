"""The one bridge from the event loop to blocking work: the ORM, password hashing, storage."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import close_old_connections

from realtime.core.waiting import WORK_S, answer_within_s

P = ParamSpec("P")
R = TypeVar("R")

# Each thread holds at most one database connection.
_POOL = ThreadPoolExecutor(max_workers=8, thread_name_prefix="gateway-db")
# What keeps the process alive and informed must not queue behind what peers ask for.
_HOUSE = ThreadPoolExecutor(max_workers=2, thread_name_prefix="gateway-house")
# A bucket far away may take seconds for one piece of a file.
_FILES = ThreadPoolExecutor(max_workers=8, thread_name_prefix="gateway-files")


async def in_thread(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run `function` in a worker thread with fresh-enough database connections.

    Not `database_sync_to_async`: its default queues every peer behind one shared thread.
    """
    return await _run(_POOL, functools.partial(function, *args, **kwargs))


async def housekeeping(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """As `in_thread`, for the process's own work: lease, announcements, the ends of runs."""
    return await _run(_HOUSE, functools.partial(function, *args, **kwargs))


async def reading(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """As `in_thread`, for the content of stored files: nobody's request waits behind a download."""
    return await _run(_FILES, functools.partial(function, *args, **kwargs))


async def _run(pool: ThreadPoolExecutor, function: Callable[[], R]) -> R:
    def call() -> R:
        close_old_connections()
        try:
            return function()
        finally:
            close_old_connections()

    context = contextvars.copy_context()
    context.run(answer_within_s.set, WORK_S)
    return await asyncio.get_running_loop().run_in_executor(pool, context.run, call)
