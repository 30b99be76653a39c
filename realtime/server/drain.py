"""GatewayServer: leave in order. The only place that knows uvicorn.Server."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType

import structlog
import uvicorn

from realtime.server.http import GatewayHttpProtocol

logger = structlog.get_logger("gateway")

LOOK_S = 0.02  # how often connections are counted while they end


class GatewayServer(uvicorn.Server):
    """On SIGTERM or SIGINT: listen no more, await `on_drain(drain_s)`, close the rest with 1012.

    Requests in flight may use what `on_drain` leaves of `drain_s` (seconds). The process then
    exits with status 0. A second signal ends it at once, by that signal.
    """

    farewell_s = 2.0  # for closes to be answered, after the drain; then connections are cut
    cancelled_s = 1.0  # for cancelled requests to clean up

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        drain_s: float,
        on_drain: Callable[[float], Awaitable[None]],
        on_started: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(config)
        self._drain_s = drain_s
        self._on_drain = on_drain
        self._on_started = on_started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            try:
                yield
            finally:
                # Upstream raises them again at its end: the exit status would be the signal's.
                self._captured_signals.clear()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in self.servers:
            listener.close()
        for given in sockets or []:
            given.close()
        await self._drain()
        await self._close_connections()
        await self.lifespan.shutdown()

    async def _drain(self) -> None:
        """Let the application end what is open, within `drain_s` and no longer."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._drain_s
        for connection in self.server_state.connections:
            if isinstance(connection, GatewayHttpProtocol):
                connection.leave_soon()
        logger.info("drain.started", connections=len(self.server_state.connections))
        try:
            await asyncio.wait_for(self._on_drain(self._drain_s), self._drain_s)
        except TimeoutError:
            logger.warning("drain.timed_out", seconds=self._drain_s)
        except Exception:
            logger.exception("drain.failed")
        self._close_all()
        await self._until(lambda: not self._requests(), deadline - loop.time())

    def _requests(self) -> bool:
        return any(
            isinstance(connection, GatewayHttpProtocol) and connection.is_busy
            for connection in self.server_state.connections
        )

    def _close_all(self) -> None:
        """WebSockets get their 1012, idle connections end, requests in flight go on."""
        for connection in list(self.server_state.connections):
            connection.shutdown()

    async def _close_connections(self) -> None:
        state = self.server_state
        for connection in list(state.connections):
            if isinstance(connection, GatewayHttpProtocol) and connection.is_busy:
                logger.warning("drain.request_cut", client=connection.client)
                connection.disconnect()
        await self._until(lambda: not state.connections and not state.tasks, self.farewell_s)
        for connection in list(state.connections):
            connection.transport.abort()
        for task in state.tasks:
            task.cancel()
        await self._until(lambda: not state.connections and not state.tasks, self.cancelled_s)

    async def _until(self, done: Callable[[], bool], within_s: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while not done() and loop.time() < deadline:
            await asyncio.sleep(LOOK_S)


def raise_open_file_limit() -> int:
    """Raise this process's limit of open files to what it may have; returns the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
