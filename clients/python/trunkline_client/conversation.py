"""One run of an agent: what the server says becomes records, what was done becomes frames."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trunkline_client import commands
from trunkline_client.commands import Ack, Command, Malformed
from trunkline_client.connection import REFUSED, Connection, Door, Loss, Timing
from trunkline_client.ledger import Ledger, OneThread
from trunkline_client.outbox import Outbox
from trunkline_client.schedule import Schedule, Work

log = logging.getLogger("trunkline_client")

ANY = "*"  # the handler for types that have none of their own
REPLACED = 4009
AWAY = "UNAVAILABLE"  # what was just said may not have been kept
PING = '{"type":"ping"}'
LAST_WORDS_S = 2.0
KEEP_S = 30 * 86_400  # a command that comes again after so long would act again
PRUNE_EVERY_S = 86_400.0

Observer = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True)
class Setup:
    """What an agent was made with; see `EdgeAgent`."""

    agent_id: str
    address: str
    door: Callable[[], Awaitable[Door]] = field(repr=False)
    concurrency: int
    grace_s: float
    status: Callable[[], Mapping[str, Any]]
    status_every_s: float
    tell: Observer
    timing: Timing
    now: Callable[[], float]
    chance: Callable[[], float]
    confirm_after_s: float
    options: Mapping[str, Any]
    handlers: dict[str, Work] = field(default_factory=dict)


class Conversation:
    """A connection, a schedule and an outbox, and what passes between them."""

    def __init__(self, setup: Setup, ledger: Ledger, in_thread: OneThread) -> None:
        self._setup = setup
        self._ledger = ledger
        self._in_thread = in_thread
        self._began = time.monotonic()
        self._handlers = {commands.CANCEL: Work(self._cancel), **setup.handlers}
        self._connection = Connection(
            self,
            door=setup.door,
            ping=PING,
            final=lambda loss: loss.code == REPLACED,
            timing=setup.timing,
            chance=setup.chance,
            options=setup.options,
        )
        self._outbox = Outbox(
            ledger,
            in_thread,
            send=self._connection.send,
            ping=self._connection.ping,
            told=lambda ack: setup.tell("acked", ack),
            gather_s=setup.confirm_after_s,
        )
        self._schedule = Schedule(
            ledger,
            in_thread,
            find=self._find,
            ended=self._outbox.wake,
            now=setup.now,
            concurrency=setup.concurrency,
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Until `stopping`, or Stopped, or the ledger cannot be written."""
        await self._schedule.resume()
        schedule = asyncio.create_task(self._schedule.run())
        works = [
            stopping.wait(),
            self._connection.run(),
            self._outbox.send(),
            self._outbox.confirm(),
            self._forget_regularly(),
        ]
        if self._setup.status_every_s:
            works.append(self._report_regularly())
        others = [asyncio.create_task(work) for work in works]
        try:
            first, _ = await asyncio.wait([schedule, *others], return_when="FIRST_COMPLETED")
            for task in first:
                task.result()
        finally:
            try:
                await self._schedule.finish(self._setup.grace_s)
                await self._say_goodbye()
            finally:
                for task in others:
                    task.cancel()
                await asyncio.gather(schedule, *others, return_exceptions=True)

    # --- what the connection tells ---

    async def opened(self) -> None:
        log.info("%s: connected", self._setup.agent_id)
        self._setup.tell("connected", {})
        self._outbox.opened()

    def lost(self, loss: Loss, delay_s: float | None) -> None:
        why = REFUSED.get(loss.code, "")
        if loss.status == 429:
            why = "too many refused attempts"
        level = logging.WARNING if why or loss.code == REPLACED else logging.INFO
        what = f"disconnected ({loss})" if loss.opened else f"not connected ({loss})"
        then = "not trying again" if delay_s is None else f"next attempt in {delay_s:.1f} s"
        log.log(level, "%s: %s", self._setup.agent_id, "; ".join(filter(None, (what, why, then))))
        told = {"code": loss.code, "status": loss.status, "reason": loss.reason, "delay_s": delay_s}
        self._setup.tell("lost", told)

    async def received(self, text: str) -> None:
        try:
            frame = json.loads(text)
        except (ValueError, RecursionError):
            frame = None
        match frame:
            case {"type": "pong"}:
                self._connection.pong()
            case {"type": "command"}:
                await self._command(frame)
            case {"type": "config_update"}:
                log.info("%s: config_update", self._setup.agent_id)
            case {"type": "error", "data": {"code": code, "message": message}}:
                log.warning("%s: the server complains: %s: %s", self._setup.agent_id, code, message)
                if code == AWAY:
                    self._outbox.missed()
            case _:
                log.warning("%s: an unknown frame was ignored", self._setup.agent_id)

    # --- commands ---

    async def _command(self, frame: Mapping[str, Any]) -> None:
        """Record it, then let it act; one that came before is only answered."""
        said = commands.body(frame)
        if said is None:
            log.warning("%s: a command without command_id was ignored", self._setup.agent_id)
            return
        command, ack = self._judged(said)
        now = self._setup.now()
        new = await self._in_thread(self._ledger.record, command, now, ack)
        self._setup.tell("received", {**said, "again": not new})
        if not new:
            await self._outbox.repeat(command.id)
            return
        self._outbox.wake()
        self._schedule.wake()

    def _judged(self, said: Mapping[str, Any]) -> tuple[Command, Ack | None]:
        """The command and what is acknowledged at once: that it is scheduled, or why it failed."""
        try:
            command = commands.understood(said)
        except Malformed as error:
            command = Command(id=said["command_id"], type=str(said.get("command_type")))
            if self._find(command.type) is not None:
                return command, commands.failed(command.id, str(error))
        if self._find(command.type) is None:
            return command, commands.failed(command.id, f"Unknown command type: {command.type}")
        return command, None if command.send_at is None else commands.scheduled(command.id)

    def _find(self, command_type: str) -> Work | None:
        return self._handlers.get(command_type) or self._handlers.get(ANY)

    async def _cancel(self, command: Command) -> None:
        """`cancel_scheduled`, unless the agent has its own: `schedule_id` is the command's id."""
        wanted = str(command.payload.get("schedule_id"))
        ack = commands.failed(wanted, f"Cancelled by {command.id}")
        if not await self._in_thread(self._ledger.cancel, ack):
            raise LookupError(f"Message {wanted} not found or already sent")
        self._outbox.wake()

    async def _forget_regularly(self) -> None:
        while True:
            await self._in_thread(self._ledger.prune, self._setup.now() - KEEP_S)
            await asyncio.sleep(PRUNE_EVERY_S)

    # --- status ---

    async def _report_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._setup.status_every_s)
            await self._report()

    async def _report(self) -> None:
        status: dict[str, Any] = {
            "scheduled_messages": await self._in_thread(self._ledger.waiting),
            "uptime_seconds": int(time.monotonic() - self._began),
        }
        try:
            text = commands.frame("status", {**status, **self._setup.status()})
        except Exception:  # what it says of itself is no reason not to work, or not to leave
            log.warning("%s: `status` failed", self._setup.agent_id, exc_info=True)
            text = commands.frame("status", status)
        await self._connection.send(text)

    async def _say_goodbye(self) -> None:
        if not self._connection.open:
            return
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                await self._report()
                await self._outbox.settle()
        except TimeoutError:
            log.info("%s: the server did not read the last words", self._setup.agent_id)
        await self._connection.close()
