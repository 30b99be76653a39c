"""The services that tests stand on behave as their handles promise."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.services import FaultProxy, Given, Postgres, Redis, Serve, Service, Unavailable, until
from tests.services import postgres as postgres_module


class Script(Service):
    """A Python program that is ready when it has printed "ready"."""

    start_within_s = 10

    def __init__(self, program: str) -> None:
        super().__init__()
        self.program = program

    def command(self) -> list[str]:
        return [sys.executable, "-uc", self.program]

    def ready(self) -> bool:
        return "ready" in self.log()


WITH_A_CHILD = """
import os, time
child = os.fork()
if child:
    print(child, "ready")
time.sleep(600)
"""


@contextlib.contextmanager
def running(service: Service) -> Iterator[Service]:
    try:
        yield service.start()
    finally:
        service.close()


def state(pid: int) -> str:
    """The process's state letter (proc(5)); "" when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def test_a_kill_reaches_what_the_process_started():
    with running(Script(WITH_A_CHILD)) as service:
        child = int(service.log().split()[0])
        service.kill()
        assert service.exit_code() == -signal.SIGKILL
        assert state(child) in ("", "Z")


def test_a_freeze_reaches_what_the_process_started_and_ends():
    with running(Script(WITH_A_CHILD)) as service:
        both = {service.pid, int(service.log().split()[0])}
        assert service.stop() == both
        until(lambda: {state(pid) for pid in both} == {"T"}, 30, "freeze")
        service.cont()
        until(lambda: "T" not in {state(pid) for pid in both}, 30, "thaw")


def test_closing_ends_a_child_that_outlived_its_parent():
    program = "import os, time\nchild = os.fork()\nif child: print(child, 'ready')\n"
    with running(Script(program + "time.sleep(0 if child else 600)\ntime.sleep(3)")) as service:
        assert service.exit_code() == 0
        child = int(service.log().split()[0])
        until(lambda: state(child) == "S", 30, "child that sleeps")
    assert state(child) in ("", "Z")


def test_a_service_that_ends_at_once_is_reported_with_its_log():
    service = Script("raise SystemExit('no such setting')")
    with pytest.raises(Unavailable, match="no such setting"), running(service):
        pass
    assert not service.folder.exists()


def test_a_service_that_never_gets_ready_is_ended_and_reported():
    service = Script("import time; print('here'); time.sleep(600)")
    service.start_within_s = 5
    with pytest.raises(Unavailable, match="here"), running(service):
        pass
    assert not service.alive


@pytest.mark.redis
def test_redis_comes_back_on_the_same_port(redis_service):
    url = redis_service.url
    redis_service.kill()
    assert not redis_service.ping(within_s=1)
    redis_service.restart()
    assert redis_service.ping(within_s=30)
    assert redis_service.url == url


@pytest.mark.redis
def test_a_frozen_redis_keeps_its_port_but_does_not_answer(redis_service):
    redis_service.stop()
    assert not redis_service.ping(within_s=0.2)
    redis_service.cont()
    assert redis_service.ping(within_s=30)


@pytest.mark.redis
@pytest.mark.parametrize("harm", ["kill", "stop"])
def test_redis_is_sound_and_empty_for_the_next_test(redis_service, harm):
    redis_service.say("SET left behind", within_s=30)
    getattr(redis_service, harm)()
    redis_service.heal()
    assert redis_service.say("DBSIZE", within_s=30) == b":0\r\n"


@pytest.mark.live
def test_postgres_keeps_what_was_committed_when_it_is_killed(postgres_service):
    url = postgres_service.create_database()
    with psycopg.connect(url) as before:
        before.execute("CREATE TABLE kept AS SELECT 7 AS number")
        before.commit()
        postgres_service.kill()
        with pytest.raises(psycopg.OperationalError):
            before.execute("SELECT 1")
    postgres_service.restart()
    with psycopg.connect(url) as after:
        assert after.execute("SELECT number FROM kept").fetchone() == (7,)
    postgres_service.drop_database(url)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)


def test_a_missing_redis_is_named_with_its_package(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unavailable, match="install Debian's redis-server.*TEST_REDIS_URL"):
        Redis()


def test_a_missing_postgres_is_named_with_its_package(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(postgres_module, "DEBIAN_FOLDERS", tmp_path)
    with pytest.raises(Unavailable, match="install Debian's postgresql.*TEST_DATABASE_URL"):
        Postgres()


def test_the_newest_postgres_is_taken(monkeypatch, tmp_path):
    for version in ("9.6", "15", "17"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "initdb").touch()
    monkeypatch.setattr(postgres_module, "DEBIAN_FOLDERS", tmp_path)
    assert postgres_module.find_binaries() == tmp_path / "17" / "bin"


def test_a_service_of_someone_else_is_not_killed():
    given = Given("TEST_REDIS_URL", "redis://127.0.0.1:7000/0")
    for harm in (given.kill, given.stop, given.restart):
        with pytest.raises(Unavailable, match="TEST_REDIS_URL is not ours"):
            harm()


# --- The fault proxy -----------------------------------------------------------------------------


@pytest.fixture
def echo() -> Iterator[FaultProxy]:
    """A proxy in front of a server that sends back what it gets, and closes when its peer does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer(line: socket.socket) -> None:
            with line, contextlib.suppress(OSError):
                while data := line.recv(65536):
                    line.sendall(data)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    line, _ = listener.accept()
                    threading.Thread(target=answer, args=(line,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        with FaultProxy("127.0.0.1", listener.getsockname()[1]) as proxy:
            yield proxy
        listener.shutdown(socket.SHUT_RDWR)


def call(proxy: FaultProxy, within_s: float = 5) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), within_s)


def first_byte(proxy: FaultProxy) -> bytes:
    """What arrives unasked; a reset may show when connecting or when reading."""
    with call(proxy) as line:
        return line.recv(1)


def test_the_proxy_passes_every_byte_and_the_end(echo):
    sent = os.urandom(1_000_000)
    with call(echo) as line:
        threading.Thread(target=lambda: (line.sendall(sent), line.shutdown(socket.SHUT_WR))).start()
        received = b"".join(iter(lambda: line.recv(65536), b""))
    assert received == sent


def test_a_black_hole_holds_back_and_later_delivers(echo):
    with call(echo) as line:
        echo.mode = "blackhole"
        line.sendall(b"hello")
        line.settimeout(0.3)
        with pytest.raises(TimeoutError):
            line.recv(5)
        echo.mode = "pass"
        line.settimeout(30)
        assert line.recv(5) == b"hello"


def test_a_reset_reaches_open_and_new_connections(echo):
    with call(echo) as line:
        line.sendall(b"hello")
        assert line.recv(5) == b"hello"
        echo.mode = "rst"
        with pytest.raises(ConnectionResetError):
            line.recv(5)
    with pytest.raises(ConnectionResetError):
        first_byte(echo)
    echo.mode = "pass"
    with call(echo) as line:
        line.sendall(b"hello")
        assert line.recv(5) == b"hello"


def test_a_half_close_ends_the_servers_side_alone(echo):
    with call(echo) as line:
        line.sendall(b"hello")
        assert line.recv(5) == b"hello"
        echo.half_close()
        assert line.recv(5) == b""
        line.sendall(b"still heard")


def test_a_delay_is_kept_for_every_chunk(echo):
    echo.mode, echo.delay_s = "delay", 0.15
    with call(echo) as line:
        begun = time.monotonic()
        line.sendall(b"hello")
        assert line.recv(5) == b"hello"
        assert time.monotonic() - begun >= 0.3  # there and back


def test_the_proxy_resets_a_caller_whose_target_is_gone():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = listener.getsockname()[1]
    with FaultProxy("127.0.0.1", gone) as proxy, pytest.raises(ConnectionResetError):
        first_byte(proxy)


# --- The gateway itself --------------------------------------------------------------------------


@pytest.mark.live
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_gateway_starts_migrated_and_ends_well_when_it_is_told(serve, database):
    gateway: Serve = serve(database=database)
    assert gateway.alive
    assert "[ ]" not in gateway.run("showmigrations")
    assert gateway.terminate() == 0


@pytest.mark.live
def test_a_second_gateway_shares_the_database_of_the_first(serve):
    first = serve()
    second = serve(beside=first)
    assert first.port != second.port
    first.run("create_user", "dora", "--password", "for-tests-only-7")
    with pytest.raises(AssertionError, match="dora"):
        second.run("create_user", "dora", "--password", "for-tests-only-7")


@pytest.mark.live
def test_gateways_have_databases_of_their_own(serve):
    first, second = serve(), serve()
    for gateway in (first, second):
        gateway.run("create_user", "dora", "--password", "for-tests-only-7")


@pytest.mark.live
def test_a_wrong_setting_is_reported_with_the_gateways_own_words(serve):
    with pytest.raises(Unavailable, match="RATE_LIMIT_RPM"):
        serve(RATE_LIMIT_RPM="many")
