"""A Redis of our own: in memory, without persistence."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Sequence

from tests.services.process import Service, Unavailable


class Redis(Service):
    """`redis-server` on its own port; a restart loses its data, as it should."""

    def __init__(self) -> None:
        self.binary = shutil.which("redis-server")
        if self.binary is None:
            raise Unavailable(
                "redis-server was not found: install Debian's redis-server (make setup does),"
                " or name a Redis in TEST_REDIS_URL"
            )
        super().__init__()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> Sequence[str]:
        return [
            *(str(self.binary), "--port", str(self.port), "--bind", "127.0.0.1"),
            *("--save", "", "--appendonly", "no", "--dir", str(self.folder)),
        ]

    def ready(self) -> bool:
        return self.ping(within_s=1)

    def ping(self, *, within_s: float) -> bool:
        """True when it answers PING in time."""
        return self.say("PING", within_s=within_s) == b"+PONG\r\n"

    def heal(self) -> None:
        super().heal()
        self.say("FLUSHALL", within_s=30)

    def say(self, command: str, *, within_s: float) -> bytes:
        """One inline command and the first bytes of its answer; none when nobody answers."""
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), within_s) as line,
        ):
            line.sendall(command.encode() + b"\r\n")
            return line.recv(4096)
        return b""
