"""Seen: presence is told who was heard of: Redis or, without it, the rows.

A frame only sets its connection's `last_seen`; here all of them are told together, now and then.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping

import structlog
from django.conf import settings

from realtime.bus.live import LOST, Live
from realtime.connection import Connection
from realtime.core import addresses
from realtime.core.addresses import Address
from realtime.neighbours import Arrival
from realtime.threads import housekeeping
from sessions_app.services import presence

logger = structlog.get_logger("gateway")

LIVE_S = 3.0  # how often Redis is told
ROWS_S = 30.0  # how often the rows are


class Seen:
    """The process `node`, with all its connections and those that are present."""

    def __init__(
        self, node: str, connections: Mapping[str, Connection], present: Mapping[str, Arrival]
    ) -> None:
        url, ttl_s = settings.REDIS_URL, settings.PRESENCE_TTL_S
        self._live = Live(url, addresses.node(node), ttl_s) if url else None
        self._rows_s = min(ROWS_S, ttl_s / 3)  # nobody counts as idle for want of being told
        self.every_s = min(LIVE_S, self._rows_s) if url else self._rows_s
        self._connections = connections
        self._present = present
        self._rows_know = 0.0  # all that was heard before that moment
        self._lost = False

    async def tell(self) -> None:
        now = time.time()  # what is said while Redis is waited for counts for the next time
        seen = {
            connection.id: connection.last_seen
            for connection in self._connections.values()
            if connection.id in self._present
        }
        if not await self._tell_redis(seen):
            await self._tell_rows(seen, now)

    async def _tell_redis(self, seen: Mapping[str, float]) -> bool:
        if self._live is None:
            return False
        try:
            present = dict(self._present)  # as it is now, whoever leaves meanwhile
            await self._live.tell(seen, lambda connection: _place(present[connection]))
        except LOST as error:
            if not self._lost:
                logger.warning("presence.live_lost", error=type(error).__name__)
            self._lost = True
            return False
        if self._lost:
            logger.info("presence.live_told")
        self._lost = False
        return True

    async def _tell_rows(self, seen: Mapping[str, float], now: float) -> None:
        if 0 <= now - self._rows_know < self._rows_s - self.every_s:
            return
        heard = {
            connection: dt.datetime.fromtimestamp(at, dt.UTC)
            for connection, at in seen.items()
            if at >= self._rows_know
        }
        if heard:
            await housekeeping(presence.seen, connections=heard)
        self._rows_know = now

    async def stop(self) -> None:
        if self._live is not None:
            await self._live.stop()


def _place(arrival: Arrival) -> Address:
    return addresses.place(arrival.principal.account, arrival.protocol, arrival.place)
