"""`dispatch_commands`: the dispatcher alone, for scaled set-ups; any number may run."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from realtime import node
from realtime.health import pending_migrations


class Command(BaseCommand):
    help = "Lease due commands to connected agents, whichever process holds their sockets."

    def handle(self, *args: Any, **options: Any) -> None:
        if pending_migrations():
            raise CommandError("the database is not up to date: run manage.py migrate first")
        asyncio.run(_dispatch())


async def _dispatch() -> None:
    """A process of the fleet without sockets, until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await node.ensure_started()
    try:
        await ended.wait()
    finally:
        await node.stop()
