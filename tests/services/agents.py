"""Scripted edge agents in a process of their own, each step of theirs in a journal that outlives
`kill -9`: what they saw, acknowledged, and know to have been read (the pong came after it).

`python -m tests.services.agents` is that process; `Agents` is the handle for it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.services.gateway import ROOT, clean_environment
from tests.services.process import Service

FIRST_DELAY_S, LAST_DELAY_S = 0.05, 1.0
AT_A_TIME = 50  # handshakes of one process at once


@dataclass(frozen=True, slots=True)
class Line:
    """One step: connected, lost, seen, acked or confirmed; `at` in seconds since 1970."""

    what: str
    agent: str
    at: float
    command: str = ""
    status: str = ""


class Agents(Service):
    """Agents that connect to `urls` in turn, again whenever they are cut off.

    `die`: `seen:N` (before the acknowledgement of the Nth command) or `acked:N` (right after it is
    on its way) ends the process with SIGKILL. `clock`: seconds that theirs is off; it is in what
    they say, not in the journal.
    """

    def __init__(
        self,
        urls: Sequence[str],
        names: Sequence[str],
        secret: str,
        *,
        ack: Sequence[str] = ("completed",),
        die: str = "",
        clock: float = 0.0,
        journal: Path | None = None,
    ) -> None:
        super().__init__()
        self.journal = journal or self.folder / "journal"
        self._names = list(names)
        self._secret = secret
        self.options = ["--journal", str(self.journal), "--ack", ",".join(ack), "--die", die]
        self.options += ["--clock", str(clock)]
        for url in urls:
            self.options += ["--url", url]

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "tests.services.agents", *self.options]

    def environment(self) -> dict[str, str]:
        return clean_environment({"EDGE_SECRET": self._secret, "AGENTS": json.dumps(self._names)})

    def working_folder(self) -> Path:
        return ROOT

    def ready(self) -> bool:
        return {line.agent for line in read(self.journal)} >= set(self._names)

    def lines(self, *what: str) -> list[Line]:
        return [line for line in read(self.journal) if not what or line.what in what]

    def seen(self) -> list[str]:
        """The ids of the commands that came, as often as they came, in order."""
        return [line.command for line in self.lines("seen")]


def read(journal: Path) -> Iterator[Line]:
    """Every whole line of a journal; a process may be writing the last one."""
    text = journal.read_text() if journal.exists() else ""
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            yield Line(*json.loads(line))


class _Script:
    """What all agents of this process share: the journal, and when to die."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.urls: list[str] = asked.url
        self.acks = [status for status in asked.ack.split(",") if status]
        self.secret = os.environ["EDGE_SECRET"]
        self.door = asyncio.Semaphore(AT_A_TIME)
        self._journal = os.open(asked.journal, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        self.clock: float = asked.clock
        self._point, _, number = asked.die.partition(":")
        self._left = int(number or 0)

    def note(self, what: str, agent: str, command: str = "", status: str = "") -> None:
        line = [what, agent, time.time(), command, status]
        os.write(self._journal, json.dumps(line).encode() + b"\n")

    def may_die(self, point: str) -> None:
        if point == self._point:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)


async def _live(script: _Script, name: str) -> None:
    """One agent, for ever."""
    failures = 0
    while True:
        url = script.urls[failures % len(script.urls)]
        headers = {"Authorization": f"Bearer {script.secret}"}
        with contextlib.suppress(OSError, TimeoutError, ConnectionClosed, InvalidHandshake):
            async with script.door:
                socket = await connect(
                    f"{url}/edge/ws?edge_agent_id={name}",
                    additional_headers=headers,
                    proxy=None,
                    open_timeout=20,
                    compression=None,
                    close_timeout=1,
                    ping_interval=None,
                )
            script.note("connected", name)
            try:
                await _converse(script, name, socket)
            finally:
                script.note("lost", name, status=str(socket.close_code))
                await socket.close()
        failures += 1
        await asyncio.sleep(random.uniform(0, min(LAST_DELAY_S, FIRST_DELAY_S * failures)))


async def _converse(script: _Script, name: str, socket: ClientConnection) -> None:
    sent: list[tuple[str, str]] = []  # acknowledgements since the ping that is on its way
    asked: list[tuple[str, str]] = []  # those before it
    async for text in socket:
        frame: dict[str, Any] = json.loads(text)
        match frame["type"]:
            case "command":
                command = frame["data"]["command_id"]
                script.note("seen", name, command)
                script.may_die("seen")
                for status in script.acks:
                    data = {"command_id": command, "status": status}
                    if status == "completed":
                        moment = dt.datetime.fromtimestamp(time.time() + script.clock, dt.UTC)
                        data["completed_at"] = moment.isoformat()
                    script.note("acked", name, command, status)
                    await socket.send(json.dumps({"type": "command_ack", "data": data}))
                    sent.append((command, status))
                    script.may_die("acked")
            case "pong":
                for command, status in asked:
                    script.note("confirmed", name, command, status)
                asked = []
        if sent and not asked:
            sent, asked = [], sent
            await socket.send('{"type":"ping"}')


async def _run(asked: argparse.Namespace) -> None:
    script = _Script(asked)
    await asyncio.gather(*[_live(script, name) for name in json.loads(os.environ["AGENTS"])])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", action="append", required=True)
    parser.add_argument("--journal", required=True)
    parser.add_argument("--ack", default="completed")
    parser.add_argument("--die", default="")
    parser.add_argument("--clock", type=float, default=0.0)
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
