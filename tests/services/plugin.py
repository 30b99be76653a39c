"""The pytest plugin: `-p tests.services.plugin`, in pyproject.toml.

TEST_DATABASE=sqlite (default) or postgres says on what the suite runs. With postgres, Django's own
tests get a cluster and a Redis that no test may harm; the fixtures below hand out other ones.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Literal

import pytest

from tests.services.gateway import SECRETS, Serve, run_command
from tests.services.given import Given
from tests.services.nginx import Nginx
from tests.services.people import INTRODUCE
from tests.services.postgres import GivenPostgres, Postgres, database_name
from tests.services.process import Unavailable, close_all
from tests.services.redis import Redis

Kind = Literal["sqlite", "postgres"]
_home = Path(tempfile.mkdtemp(prefix="trunkline-home-"))
atexit.register(shutil.rmtree, _home, ignore_errors=True)
_copies: set[str] = set()  # URLs of the databases made here: a server that was given keeps none


# --- The suite's own environment, before Django's settings are read ------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    kind = os.environ.get("TEST_DATABASE", "sqlite")
    if kind not in ("sqlite", "postgres"):
        raise pytest.UsageError(
            f"TEST_DATABASE: {kind!r} is not allowed; it takes sqlite or postgres"
        )
    os.environ.update(SECRETS, TRUNKLINE_HOME=str(_home), REDIS_URL="", DEBUG="off")
    os.environ["DATABASE_URL"] = os.environ["OPENAI_MODEL"] = ""
    # The process that only hands out work to -n workers runs no test.
    workers = getattr(early_config.known_args_namespace, "numprocesses", None)
    runs_tests = not workers or "PYTEST_XDIST_WORKER" in os.environ
    if kind == "postgres" and runs_tests:
        try:
            # No connection outlives its work: one left in a thread would keep the test database
            # from being dropped.
            database = f"{_postgres('own').url}?conn_max_age=0"
            os.environ.update(DATABASE_URL=database, REDIS_URL=_redis("own").url)
        except Unavailable as error:
            raise pytest.UsageError(str(error)) from error


def pytest_configure(config: pytest.Config) -> None:
    # So that fixtures and services are ended when the whole run is told to stop.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", 128 + signal.SIGTERM))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("postgres") and _kind() != "postgres":
        pytest.fail("this test needs PostgreSQL: run it with TEST_DATABASE=postgres", pytrace=False)


def pytest_unconfigure(config: pytest.Config) -> None:
    for url in _copies:
        _postgres("fixture").drop_database(url)
    close_all()


def _kind() -> Kind:
    return "postgres" if os.environ.get("TEST_DATABASE") == "postgres" else "sqlite"


@cache
def _postgres(user: str) -> Postgres | GivenPostgres:
    """The cluster of Django's own tests ("own"), or that of the fixtures ("fixture")."""
    given = os.environ.get("TEST_DATABASE_URL")
    return GivenPostgres("TEST_DATABASE_URL", given) if given else Postgres().start()


@cache
def _redis(user: str) -> Redis | Given:
    given = os.environ.get("TEST_REDIS_URL")
    if not given:
        return Redis().start()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        raise Unavailable("TEST_REDIS_URL serves one process: Redis channels know no databases")
    return Given("TEST_REDIS_URL", given)


@cache
def _template(kind: Kind) -> str:
    """The URL of a migrated database with the people of `people.py` in it, to be copied."""
    url = f"sqlite:///{_home}/template.sqlite3"
    if kind == "postgres":
        url = _postgres("fixture").create_database()
        _copies.add(url)
    env = {**_settings(), "DATABASE_URL": url}
    run_command("migrate", "--no-input", "--verbosity=0", env=env)
    run_command("shell", "--verbosity=0", "-c", INTRODUCE, env=env)
    return url


def _settings() -> dict[str, str]:
    return {**SECRETS, "TRUNKLINE_HOME": str(_home)}


# --- Fixtures ------------------------------------------------------------------------------------


@pytest.fixture
def redis_service() -> Iterator[Redis | Given]:
    """A Redis that a test may kill, freeze and restart; sound again for the next one."""
    service = _redis("fixture")
    yield service
    service.heal()


@pytest.fixture
def postgres_service() -> Iterator[Postgres | GivenPostgres]:
    """A PostgreSQL that a test may kill, freeze and restart; sound again for the next one."""
    service = _postgres("fixture")
    yield service
    service.heal()


@pytest.fixture
def nginx() -> Iterator[Callable[..., Nginx]]:
    """`nginx(server, …) -> Nginx`: the deployed file in front of them, started and ready."""
    started: list[Nginx] = []

    def start(*servers: Serve) -> Nginx:
        started.append(Nginx(*servers))
        return started[-1].start()

    yield start
    for proxy in started:
        proxy.close()


@pytest.fixture
def serve(request: pytest.FixtureRequest) -> Iterator[Callable[..., Serve]]:
    """`serve(*arguments, program=…, database=…, beside=…, **settings) -> Serve`, started and ready.

    program   Serve, or another server of the same application.

    database  sqlite: the embedded default, without Redis; postgres: with Redis.
              Unless given, as TEST_DATABASE says.
    beside    another Serve: the new process shares its database, Redis and settings.
    """
    yield from _serving(request)


@pytest.fixture
def postgres_settings(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """What a server needs to run on a new database of PostgreSQL, with Redis."""
    environ = _new_database(request, "postgres")
    yield {**SECRETS, **environ}
    _drop(environ["DATABASE_URL"])


@pytest.fixture(scope="module")
def serve_for_module(request: pytest.FixtureRequest) -> Iterator[Callable[..., Serve]]:
    """As `serve`, for all tests of a module; with database="sqlite" only, which nobody harms."""
    yield from _serving(request)


def _serving(request: pytest.FixtureRequest) -> Iterator[Callable[..., Serve]]:
    started: list[Serve] = []

    def start(
        *arguments: str,
        program: type[Serve] = Serve,
        database: Kind | None = None,
        beside: Serve | None = None,
        **settings: str,
    ) -> Serve:
        environ = dict(beside.environ) if beside else _new_database(request, database or _kind())
        started.append(program({**environ, **settings}, *arguments))
        return started[-1].start()

    yield start
    for process in reversed(started):
        process.close()
    for url in {process.environ["DATABASE_URL"] for process in started}:
        _drop(url)


def _drop(url: str) -> None:
    if url in _copies:
        _postgres("fixture").drop_database(url)
        _copies.discard(url)


def _new_database(request: pytest.FixtureRequest, kind: Kind) -> dict[str, str]:
    if kind == "sqlite":
        file = Path(tempfile.mkdtemp(dir=_home)) / "trunkline.sqlite3"
        shutil.copyfile(_template("sqlite").removeprefix("sqlite:///"), file)
        return {"DATABASE_URL": f"sqlite:///{file}"}
    server: Postgres = request.getfixturevalue("postgres_service")
    redis: Redis = request.getfixturevalue("redis_service")
    url = server.create_database(database_name(_template("postgres")))
    _copies.add(url)
    return {"DATABASE_URL": url, "REDIS_URL": redis.url}
