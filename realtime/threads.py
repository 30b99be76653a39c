"""The one bridge from the event loop to blocking work: the ORM, password hashing, storage."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import close_old_connections

P = ParamSpec("P")
R = TypeVar("R")

# Each thread holds at most one database connection.
_POOL = ThreadPoolExecutor(max_workers=8, thread_name_prefix="gateway-db")


async def in_thread(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run `function` in a worker thread with fresh-enough database connections.

    Not `database_sync_to_async`: its default queues every peer behind one shared thread.
    """

    def call() -> R:
        close_old_connections()
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()

    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_POOL, functools.partial(context.run, call))
