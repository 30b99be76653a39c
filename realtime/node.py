"""Node: this process as one of the fleet. It holds the hub, a lease, and an ear on the
announcements.

Started by the ASGI lifespan; on servers without one, by the first connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import structlog
from channels.layers import get_channel_layer
from django.conf import settings

from accounts.services import agent_secrets, pairing, tokens
from realtime import logtail, metrics
from realtime.bus import announce, follow
from realtime.bus.history import history_of
from realtime.bus.history.keeping import Bounds
from realtime.bus.hub import Hub
from realtime.bus.outside import Outside
from realtime.connection import Connection
from realtime.core import addresses, events, loglines
from realtime.core.errors import ClientIdInUse
from realtime.core.events import Event
from realtime.dispatch import Dispatch
from realtime.dispatcher import POLL_EMBEDDED_S, POLL_S, Dispatcher
from realtime.models import Said
from realtime.runs import Runs
from realtime.seen import Seen
from realtime.showing import Showing
from realtime.threads import housekeeping
from sessions_app.services import control, media, nodes, presence, workers
from sessions_app.services import runs as records

logger = structlog.get_logger("gateway")

FOLLOW_S = 0.5  # how often the announcements are read without a hint
ROWS_AT_ONCE = 10  # announcements, each of up to 50 facts, before others have their turn
REST_TIMES, MAX_REST_S = 1.0, 0.02  # before the next reading, in times of the last one
HEAR_S = 5.0  # how long an answer waits for its announcement before it goes out alone
QUEUES_S = 2.0  # how often it learns what waits for whom
TIDY_S = 60.0
CANCEL_S = 1.0  # for a task of its own to end, before it is cancelled once more
OUTSIDE_S = 0.5  # before other programs' Redis channel is listened to again


class Node:
    """One process. `start` and `stop` belong to one event loop."""

    def __init__(self, *, dispatches: bool = True) -> None:
        """`dispatches`: whether it leases due commands to agents, of whatever process."""
        self.id = f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(4)}"
        layer: Any = get_channel_layer() if settings.REDIS_URL else None
        bounds = Bounds(settings.HISTORY_SIZE, settings.HISTORY_TTL_S)
        self.hub = Hub(layer, history_of(bounds, settings.REDIS_URL, layer))
        self.runs = Runs(self.hub, self.hear)
        self.showing = Showing(self.hub)
        self.services = Dispatch(node=self.id, runs=self.runs, showing=self.showing)
        poll_s = POLL_EMBEDDED_S if settings.EMBEDDED else POLL_S
        self.dispatcher = Dispatcher(self.hub, name=self.id, poll_s=poll_s) if dispatches else None
        self.connections: dict[str, Connection] = {}
        self._seen = Seen(self.id, self.connections, self.services.present)
        self._tail = logtail.LogTail(self.hub, here=self.connections.__contains__)
        self.draining = False
        self.loop = asyncio.get_running_loop()
        self._cursor = follow.Cursor()
        self._hinted = asyncio.Event()
        self._rest_s = 0.0
        self._heard = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._swept = False
        self._queued: dict[str, int] = {}  # as presence has it, where it is not 0

    async def start(self) -> None:
        self._cursor = await housekeeping(follow.newest, time.monotonic())
        self.hub.heard = self._cursor.has
        await housekeeping(nodes.renew, **self._lease())
        await self.hub.start()
        for _, once, said in await housekeeping(follow.recorded):
            self._say(once, said)
        self.hub.join_here(addresses.node(self.id), self._told)
        await self.hub.join(addresses.everyone(addresses.SYSTEM), _ignore)  # resyncs of others
        await self.hub.join(addresses.nodes(), self._told)
        announce.use_hint(self._hint)
        logtail.use(self._tail)
        self._tasks = [
            asyncio.create_task(self._repeat("follow", self._follow, self._next_reading)),
            asyncio.create_task(
                self._repeat("lease", self._renew, _every(settings.NODE_LEASE_S / 3))
            ),
            asyncio.create_task(self._repeat("seen", self._seen.tell, _every(self._seen.every_s))),
            asyncio.create_task(self._repeat("queues", self._tell_queues, _every(QUEUES_S))),
            asyncio.create_task(self._repeat("showing", self.showing.tell, self.showing.next)),
            asyncio.create_task(self._repeat("tidy", self._tidy, _every(TIDY_S))),
            asyncio.create_task(self._repeat("logs", self._tail.renew, _every(logtail.RENEW_S))),
        ]
        if settings.REDIS_URL:
            outside = Outside(self.hub, settings.REDIS_URL)
            self._tasks += [
                asyncio.create_task(self._repeat(name, work, _every(wait_s)))
                for name, work, wait_s in (
                    ("outside", outside.listen, OUTSIDE_S),
                    ("outside-lease", outside.lease.keep, OUTSIDE_S),
                )
            ]
        if self.dispatcher is not None:
            self.dispatcher.start()
            loop = self._repeat("dispatch", self.dispatcher.work, self.dispatcher.wait)
            self._tasks.append(asyncio.create_task(loop))
        logger.info("node.started", node=self.id, bus="redis" if settings.REDIS_URL else "embedded")

    async def stop(self) -> None:
        announce.use_hint(None)
        logtail.use(None)
        self._stopping = True
        async with self._heard:
            self._heard.notify_all()
        await _cancelled(self._tasks)
        await self.showing.tell()
        await self._seen.stop()
        await self.hub.stop()
        await housekeeping(nodes.leave, node=self.id)
        logger.info("node.stopped", node=self.id)

    async def drain(self, within_s: float) -> None:
        """Tell every peer, close them spread over `within_s` seconds, let runs end."""
        self.draining = True
        last_s = min(2.0, within_s * 0.4)  # to record the runs that do not end by themselves
        deadline = time.monotonic() + within_s
        everyone = [addresses.everyone(addresses.SYSTEM)]
        self.hub.deliver(everyone, Event(events.DRAIN, {"within_s": within_s - last_s}))
        await self.runs.drain(within_s - last_s, last_s * 0.8)
        while self.connections and time.monotonic() < deadline:
            await asyncio.sleep(0.02)

    async def hear(self, announcement: int) -> None:
        """Return once `announcement` was delivered to this process's members."""
        if not announcement:
            return
        self._hinted.set()
        async with self._heard:
            try:
                await asyncio.wait_for(
                    self._heard.wait_for(lambda: self._stopping or self._cursor.has(announcement)),
                    HEAR_S,
                )
            except TimeoutError:
                logger.warning("announcement.late", announcement=announcement)

    # --- announcements ---

    def _hint(self) -> None:
        """A transaction of this process has committed an announcement; from any thread."""
        self.loop.call_soon_threadsafe(self._hint_here)

    def _hint_here(self) -> None:
        """One hint stands for all that was committed until it is heeded."""
        if not self._hinted.is_set():
            self.hub.publish([addresses.nodes()], Event(events.HINT))
            self._hinted.set()

    async def _next_reading(self) -> None:
        """At once after a quiet time; with many hints, one reading for what has come together."""
        await asyncio.sleep(self._rest_s)
        with contextlib.suppress(TimeoutError):
            # Not `wait_for`: in Python 3.11 it loses a cancellation that comes with the hint.
            async with asyncio.timeout(FOLLOW_S):
                await self._hinted.wait()
        self._hinted.clear()

    async def _follow(self) -> None:
        began_s = time.monotonic()
        await self._read_all()
        self._rest_s = min(REST_TIMES * (time.monotonic() - began_s), MAX_REST_S)

    async def _read_all(self) -> None:
        while True:
            gaps = list(self._cursor.gaps)
            heard = await housekeeping(follow.unheard, self._cursor.high, gaps, self.hub.hears)
            for number, (announcement, once, said) in enumerate(heard, 1):
                self._say(once, said)
                if not number % ROWS_AT_ONCE:
                    await asyncio.sleep(0)
                self._cursor.mark(announcement, time.monotonic())
                self.hub.release()
            if heard:
                metrics.ANNOUNCED.inc(len(heard))
            if len(heard) < follow.BATCH:
                break
        self.hub.release()
        async with self._heard:
            self._heard.notify_all()

    def _say(self, once: str, said: Sequence[Said]) -> None:
        for targets, some in said:
            for event in some:
                if once:
                    self.hub.record(targets[0], event, once=once)
                else:
                    self.hub.deliver(targets, event)

    def _told(self, event: Event) -> None:
        """What is said to this process itself."""
        match event.name:
            case events.HINT:
                self._hinted.set()
            case records.INJECT:
                self.runs.inject(event.data["run"], event.data["text"])
            case records.BEGIN:
                self.runs.begin(records.handed_over(event.data))
            case records.ABORT:
                self.runs.abort(event.data["run"])
            case loglines.FOLLOW | loglines.UNFOLLOW:
                self._tail.heard(event)

    # --- being alive ---

    def _lease(self) -> dict[str, Any]:
        return {
            "node": self.id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "lease_s": settings.NODE_LEASE_S,
        }

    async def _renew(self) -> None:
        held = await housekeeping(nodes.renew, **self._lease())
        if not held:
            logger.warning("node.lease_lapsed", node=self.id)
            self._swept = True
        if self._swept:  # others may have swept what is here
            await self._reconcile(lapsed=True)
            self._swept = False
        self.showing.touch(await housekeeping(presence.sweep))
        await housekeeping(records.fail_orphans)
        await housekeeping(workers.sweep)

    async def _reconcile(self, *, lapsed: bool = False) -> None:
        """Who came back too late ends here: its client id is another's by now."""
        for connection in await self.services.reconcile(lapsed=lapsed):
            end = Event(events.DISCONNECT, {"reason": ClientIdInUse.default})
            self.hub.deliver([addresses.connection(connection)], end)

    async def _tell_queues(self) -> None:
        """Only what differs from the last time: nearly every queue is empty nearly always."""
        present = self.services.present
        queued = {
            connection.id: connection.queued_bytes
            for connection in self.connections.values()
            if connection.id in present
        }
        changed = {name: size for name, size in queued.items() if size != self._queued.get(name, 0)}
        if changed:
            await housekeeping(presence.queued, connections=changed)
            self.showing.touch(
                present[name].principal.account for name in changed if name in present
            )
        self._queued = {name: size for name, size in queued.items() if size}

    async def _tidy(self) -> None:
        await self._reconcile()
        await housekeeping(records.fail_strays, node=self.id, active=self.runs.active)
        self._cursor.forget_old_gaps(time.monotonic())
        await housekeeping(follow.delete_old)
        await housekeeping(pairing.expire)
        await housekeeping(tokens.delete_expired)
        await housekeeping(agent_secrets.end_overlaps)
        await housekeeping(nodes.sweep)
        await housekeeping(media.sweep)
        await housekeeping(control.forget)

    async def _repeat(
        self, name: str, work: Callable[[], Awaitable[None]], wait: Callable[[], Awaitable[None]]
    ) -> None:
        """`work` over and over; a failure (a database away) is told once and tried again."""
        failing = False
        while not self._stopping:
            await wait()
            try:
                await work()
                failing = False
            except Exception as error:
                if not failing:
                    logger.error("node.task_failed", task=name, exc_info=error)
                failing = True


async def _cancelled(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel them until they have ended: one cancellation may be lost in `wait_for` of Python 3.11
    (redis-py writes with it), and who renews a lease would go on for ever.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_S)


def _every(seconds: float) -> Callable[[], Awaitable[None]]:
    async def wait() -> None:
        await asyncio.sleep(seconds)

    return wait


def _ignore(event: Event) -> None:
    """For an address that is subscribed for the sake of members that are there only locally."""


dispatches = True  # whether the node that is started next has a dispatcher

_current: Node | None = None
_starting: asyncio.Task[Node] | None = None


async def ensure_started() -> Node:
    """This process's node, started the first time; one for each event loop that serves."""
    global _starting
    loop = asyncio.get_running_loop()
    if _current is not None and _current.loop is loop:
        return _current
    failed = _starting is not None and _starting.done() and _starting.exception() is not None
    if _starting is None or failed or _starting.get_loop() is not loop:
        _starting = asyncio.create_task(_start())
    return await asyncio.shield(_starting)


async def _start() -> Node:
    global _current
    node = Node(dispatches=dispatches)
    try:
        await node.start()
    except BaseException:
        await node.stop()
        raise
    _current = node
    return node


async def stop() -> None:
    global _current, _starting
    node, _current, _starting = _current, None, None
    if node is not None:
        await node.stop()


def current() -> Node | None:
    return _current
