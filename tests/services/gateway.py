"""Serve: the gateway itself, as its users start it, in a process of its own."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.services.process import Service

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {
    "SECRET_KEY": "a-secret-for-tests-only-" * 3,
    "GATEWAY_TOKEN": "the-gateway-token-of-the-tests",
    "EDGE_SECRET": "the-edge-secret-of-the-tests",
    "NEXUS_JWT_SECRET": "the-nexus-jwt-secret-of-the-tests",
}


class Serve(Service):
    """`manage.py serve` on a free port; `environ` holds its settings, nothing else reaches it."""

    def __init__(self, environ: Mapping[str, str], *arguments: str) -> None:
        super().__init__()
        self.environ = {"TRUNKLINE_HOME": str(self.folder / "home"), **SECRETS, **environ}
        self.arguments = arguments
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}/ws"
        self.token = self.environ["GATEWAY_TOKEN"]

    def command(self) -> Sequence[str]:
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        return [sys.executable, "manage.py", "serve", *address, *self.arguments]

    def environment(self) -> dict[str, str]:
        return clean_environment(self.environ)

    def working_folder(self) -> Path:
        return ROOT

    def ready(self) -> bool:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            line.request("GET", "/healthz")
            return line.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            line.close()

    def run(self, *arguments: str) -> str:
        """The standard output of a management command with this server's settings."""
        return run_command(*arguments, env=self.environ).stdout


class Dispatcher(Serve):
    """`manage.py dispatch_commands`; it has no port, and says when it is ready."""

    def command(self) -> Sequence[str]:
        return [sys.executable, "manage.py", "dispatch_commands"]

    def start(self) -> Self:
        self._before = self.log().count("node.started")
        return super().start()

    def ready(self) -> bool:
        return self.log().count("node.started") > self._before


class StockUvicorn(Serve):
    """The same application on uvicorn as it comes."""

    def command(self) -> Sequence[str]:
        port = ["--host", "127.0.0.1", "--port", str(self.port), "--ws", "websockets-sansio"]
        return [sys.executable, "-m", "uvicorn", "config.asgi:application", *port]


class Runserver(Serve):
    """The same application on daphne, as `manage.py runserver` starts it."""

    def command(self) -> Sequence[str]:
        return [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{self.port}"]


def run_command(
    *arguments: str, env: Mapping[str, str], check: bool = True, within_s: float = 120
) -> subprocess.CompletedProcess[str]:
    """`manage.py` with these settings only; AssertionError with its output when it fails."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=clean_environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within_s,
    )
    assert not check or done.returncode == 0, (
        f"manage.py {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    )
    return done


def clean_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """What a process needs to run at all, and these settings; a developer's own stay out."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**kept, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "REDIS_URL": "", **settings}
