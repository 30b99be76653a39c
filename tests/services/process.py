"""One service: a process and all it started, on its own port, to be killed, frozen and revived."""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

_running: set[Service] = set()


class Unavailable(RuntimeError):
    """A service cannot be had here; the text says what to install or what its log said."""


class Service:
    """A process on a port of 127.0.0.1; every signal reaches it and all its descendants."""

    start_within_s = 60.0

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="trunkline-"))
        self._log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    # What a kind of service says about itself.

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str] | None:
        return None

    def ready(self) -> bool:
        raise NotImplementedError

    # What tests do with it.

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> Self:
        """Start it and return when it is ready; Unavailable, with its log, when it ends before."""
        _running.add(self)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.working_folder(),
                env=self.environment(),
                start_new_session=True,
            )
        try:
            until(lambda: not self.alive or self.ready(), self.start_within_s, "readiness")
        except TimeoutError as error:
            self.kill()
            raise Unavailable(f"{self} was not ready in time:\n{self.log()}") from error
        if not self.alive:
            raise Unavailable(f"{self} ended with {self.exit_code()}:\n{self.log()}")
        return self

    def working_folder(self) -> Path:
        return self.folder

    def exit_code(self, within_s: float = 60.0) -> int:
        assert self._process is not None, "not started"
        return self._process.wait(within_s)

    def kill(self) -> None:
        """SIGKILL, to all of it; returns when nothing of it is left."""
        if self._process is None:
            return
        everything = self.stop()
        for pid in everything:
            _signal(pid, signal.SIGKILL)
        self.exit_code()
        until(lambda: not everything & _processes().keys(), 30, "end of a killed process")

    def stop(self) -> set[int]:
        """SIGSTOP, to all of it: sockets stay open, nothing answers. Returns the pids."""
        frozen: set[int] = set()
        # Again until no new one is found: one may have forked before it was reached.
        while fresh := self.tree() - frozen:
            for pid in fresh:
                _signal(pid, signal.SIGSTOP)
            frozen |= fresh
        return frozen

    def cont(self) -> None:
        """SIGCONT, to all of it."""
        for pid in self.tree():
            _signal(pid, signal.SIGCONT)

    def terminate(self, within_s: float = 60.0) -> int:
        """SIGTERM to the first process; its exit code."""
        _signal(self.pid, signal.SIGTERM)
        return self.exit_code(within_s)

    def restart(self) -> None:
        """Kill it if it lives, and start it again: same port, same data."""
        self.kill()
        self.start()

    def heal(self) -> None:
        """Undo what a test did to it: thaw it, or start it again."""
        if self.alive:
            self.cont()
        else:
            self.start()

    def close(self) -> None:
        """End it and forget its data; may be called again."""
        self.kill()
        _running.discard(self)
        shutil.rmtree(self.folder, ignore_errors=True)

    def tree(self) -> set[int]:
        """The pids of its session, which outlives its first process, and of their descendants."""
        table = _processes()
        tree = {pid for pid, (_, session) in table.items() if session == self.pid}
        while more := {pid for pid, (parent, _) in table.items() if parent in tree} - tree:
            tree |= more
        return tree

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on port {self.port}>"


def until(condition: Callable[[], bool], within_s: float, what: str) -> None:
    """Wait for what another process does; TimeoutError when it does not."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} within {within_s:g} s")
        time.sleep(0.01)


def free_port() -> int:
    """A port below the ephemeral range: no outgoing connection takes it meanwhile."""
    for port in random.SystemRandom().sample(range(15000, 32000), 100):
        with contextlib.closing(socket.socket()) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise Unavailable("no free port found between 15000 and 32000")


def _processes() -> dict[int, tuple[int, int]]:
    """pid -> (parent, session) of every process that is not a zombie; see proc(5), `stat`."""
    table = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent, _, session = entry.read_text().rpartition(")")[2].split()[:4]
            if state != "Z":
                table[int(entry.parent.name)] = (int(parent), int(session))
    return table


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


@atexit.register
def close_all() -> None:
    """End every service that is still there, whatever happened to the tests."""
    for service in list(_running):
        service.close()
