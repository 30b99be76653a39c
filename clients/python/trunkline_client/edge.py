"""`EdgeAgent`: receives commands, acts once on each, acknowledges them. See README.md."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlunsplit

from trunkline_client.connection import Door, Stopped, Timing, unencrypted, websocket
from trunkline_client.conversation import ANY, Conversation, Observer, Setup
from trunkline_client.credentials import Secret, shown
from trunkline_client.ledger import Ledger, OneThread
from trunkline_client.schedule import Handler, Work

__all__ = ["ANY", "EdgeAgent", "Replaced", "address"]

log = logging.getLogger("trunkline_client")

H = TypeVar("H", bound=Handler)


class Replaced(Exception):
    """Another connection with this agent's id has taken over: two programs run as one agent."""


class EdgeAgent:
    """An agent: `on` gives it handlers, `run` lets it work until `stop`.

    `secret` may be a function, plain or async; it is asked at each attempt to connect. `ledger` is
    the file that must survive restarts. `status` adds fields to the status frame, which is sent at
    the end and, with `status_every_s`, meanwhile. `observer` is told what happens: connected, lost,
    received, acked. `now` is the wall clock for `send_at`. `options` go to `websockets`.
    """

    def __init__(
        self,
        url: str,
        agent_id: str,
        secret: Secret,
        ledger: str | Path,
        *,
        concurrency: int = 8,
        grace_s: float = 10.0,
        status: Callable[[], Mapping[str, Any]] | None = None,
        status_every_s: float = 0.0,
        observer: Observer | None = None,
        timing: Timing | None = None,
        now: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
        confirm_after_s: float = 1.0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.agent_id = agent_id
        self._secret = secret
        self._path = Path(ledger)
        self._setup = Setup(
            agent_id=agent_id,
            address=address(url, agent_id),
            door=self._door,
            concurrency=concurrency,
            grace_s=grace_s,
            status=status or dict,
            status_every_s=status_every_s,
            tell=observer or _nobody,
            timing=timing or Timing(),
            now=now,
            chance=chance,
            confirm_after_s=confirm_after_s,
            options=options or {},
        )
        self._stopping = asyncio.Event()
        if unencrypted(self.address):
            log.warning("%s: ws:// sends the secret in the clear; use wss://", agent_id)

    def __repr__(self) -> str:
        return f"<EdgeAgent {self.agent_id}>"

    @property
    def address(self) -> str:
        return self._setup.address

    def on(self, command_type: str, *, repeatable: bool = False) -> Callable[[H], H]:
        """Decorate the handler of a type, or of ANY: plain (run in a thread) or async.

        Whatever it raises makes the command failed, with the exception's text. `repeatable`: may
        act again when the process was killed in the middle; else the command has then failed.
        """

        def keep(handler: H) -> H:
            self._setup.handlers[command_type] = Work(handler, repeatable)
            return handler

        return keep

    def stop(self) -> None:
        """End `run`: what is acting is finished, acknowledgements and a last status are sent."""
        self._stopping.set()

    async def run(self) -> None:
        """Until `stop`. Raises Replaced, LedgerInUse, and ValueError for a wrong address."""
        in_thread = OneThread()
        try:
            ledger = await in_thread(Ledger, self._path)
            try:
                await Conversation(self._setup, ledger, in_thread).run(self._stopping)
            finally:
                await in_thread(ledger.close)
        except Stopped as stopped:
            text = f"{self.agent_id}: {stopped}; does another program run with this agent id?"
            raise Replaced(text) from None
        finally:
            in_thread.close()

    async def _door(self) -> Door:
        headers = {"Authorization": f"Bearer {await shown(self._secret, self.agent_id)}"}
        if self.agent_id.isascii() and self.agent_id.isprintable():
            headers["X-Edge-Agent-Id"] = self.agent_id
        return Door(self.address, headers)


def address(url: str, agent_id: str) -> str:
    """The agent's address on a server: `/edge/ws` unless the URL has a path. Raises ValueError."""
    parts = websocket(url)
    if not agent_id:
        raise ValueError("agent_id: may not be empty")
    path = parts.path if parts.path.strip("/") else "/edge/ws"
    named = f"edge_agent_id={quote(agent_id, safe='')}"
    query = f"{parts.query}&{named}" if parts.query else named
    return urlunsplit(parts._replace(path=path, query=query, fragment=""))


def _nobody(kind: str, data: Mapping[str, Any]) -> None:
    """The observer where nobody wants to know."""
