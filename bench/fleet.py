"""The processes that a measurement needs: own PostgreSQL and Redis, gateways, dispatchers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg

from tests.services.gateway import SECRETS, Dispatcher, Serve, run_command
from tests.services.people import INTRODUCE
from tests.services.postgres import Postgres
from tests.services.process import Service
from tests.services.redis import Redis


class Fleet:
    """Gateways and dispatchers on one database, ended with `ends`."""

    def __init__(self, ends: contextlib.ExitStack, environ: Mapping[str, str]) -> None:
        self._ends = ends
        self.environ = dict(environ)

    @classmethod
    def with_services(cls, ends: contextlib.ExitStack) -> Fleet:
        """On a PostgreSQL and a Redis of its own, with the people of the tests."""
        postgres, redis = Postgres().start(), Redis().start()
        ends.callback(postgres.close)
        ends.callback(redis.close)
        urls = {"DATABASE_URL": postgres.create_database(), "REDIS_URL": redis.url}
        environ = {**SECRETS, **urls, "LOG_FORMAT": "json"}
        for command in (["migrate", "--no-input"], ["shell", "-c", INTRODUCE]):
            run_command(*command, "--verbosity=0", env=environ)
        return cls(ends, environ)

    def serve(self, *arguments: str) -> Serve:
        return self._start(Serve(self.environ, *arguments))

    def dispatchers(self, number: int) -> list[Serve]:
        """All at once: each takes its time to start."""
        with ThreadPoolExecutor(number) as threads:
            return list(threads.map(self._start, [Dispatcher(self.environ) for _ in range(number)]))

    @contextlib.contextmanager
    def database(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self.environ["DATABASE_URL"], autocommit=True) as connection:
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
