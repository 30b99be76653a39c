"""The processes that a measurement needs: own PostgreSQL and Redis, gateways, dispatchers."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import psycopg

from tests.services.gateway import SECRETS, Serve, run_command
from tests.services.people import INTRODUCE
from tests.services.postgres import Postgres
from tests.services.process import Service
from tests.services.redis import Redis


class Dispatcher(Serve):
    """`manage.py dispatch_commands`; ready when it says so."""

    def command(self) -> Sequence[str]:
        return [sys.executable, "manage.py", "dispatch_commands"]

    def ready(self) -> bool:
        return "node.started" in self.log()


class Fleet:
    """A database with the people of the tests in it, and whatever runs on it."""

    def __init__(self, ends: contextlib.ExitStack, **settings: str) -> None:
        self._ends = ends
        self.postgres, redis = Postgres().start(), Redis().start()
        ends.callback(self.postgres.close)
        ends.callback(redis.close)
        self.url = self.postgres.create_database()
        self.environ = {**SECRETS, "DATABASE_URL": self.url, "REDIS_URL": redis.url, **settings}
        for command in (["migrate", "--no-input"], ["shell", "-c", INTRODUCE]):
            run_command(*command, "--verbosity=0", env=self.environ)

    def serve(self, *arguments: str) -> Serve:
        return self._start(Serve(self.environ, *arguments))

    def dispatcher(self) -> Serve:
        return self._start(Dispatcher(self.environ))

    @contextlib.contextmanager
    def database(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            yield connection

    def _start(self, process: Serve) -> Serve:
        self._ends.callback(process.close)
        return process.start()


def cpu_s(services: Iterable[Service]) -> float:
    """The processor time that these and all they started have used."""
    pids = [pid for service in services for pid in service.tree()]
    return sum(_cpu_s(pid) for pid in pids)


def _cpu_s(pid: int) -> float:
    """See proc(5), `stat`: user and system time, with ended children."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0
