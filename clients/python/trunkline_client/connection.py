"""One WebSocket after another, until told to stop. Knows no protocol but the text of its ping."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol
from urllib.parse import SplitResult, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

log = logging.getLogger("trunkline_client")

# websockets writes whole handshakes, with the Authorization header, at DEBUG: never here.
_quiet = logging.getLogger("trunkline_client.websockets")
_quiet.setLevel(logging.INFO)

MAX_FRAME_BYTES = 16 * 1024 * 1024
AT_ONCE = 1012  # the server restarts and will be back
REFUSED = {
    4001: "the server saw no Authorization header; does a proxy remove it?",
    1008: "the server refuses the secret or the agent id",
}


@dataclass(frozen=True)
class Timing:
    """Seconds. The defaults are those of PROTOCOLS.md 1.6."""

    open_timeout_s: float = 10.0
    ping_every_s: float = 30.0
    pong_within_s: float = 10.0
    close_timeout_s: float = 5.0
    first_delay_s: float = 1.0
    longest_delay_s: float = 60.0
    jitter: float = 0.25  # up to so much of the delay is added

    def delay_s(self, failures: int, chance: float) -> float:
        """Before the next attempt, after `failures` in a row (1, 2, …); `chance` is in [0, 1]."""
        doubled = self.first_delay_s * 2.0 ** min(failures - 1, 60)
        return min(doubled, self.longest_delay_s) * (1 + self.jitter * chance)


@dataclass(frozen=True)
class Loss:
    """How an attempt or a connection ended; `status` is that of a refused handshake."""

    reason: str
    code: int = 0
    status: int = 0
    opened: bool = False
    heard: bool = False  # a frame came before it ended

    def __str__(self) -> str:
        number = self.code or self.status
        return f"{number} {self.reason}".strip() if number else self.reason


class Door(NamedTuple):
    """Where an attempt goes, and what it shows there."""

    url: str
    headers: Mapping[str, str] = {}


class Talk(Protocol):
    """What is carried: whoever uses a Connection implements these."""

    async def opened(self) -> None: ...

    async def received(self, text: str) -> None: ...

    def lost(self, loss: Loss, delay_s: float | None) -> None:
        """`delay_s` until the next attempt; None: there is none."""


class Stopped(Exception):
    """The server closed with a code after which another attempt is useless."""

    def __init__(self, loss: Loss) -> None:
        super().__init__(str(loss))
        self.loss = loss


class _NoRedirect(connect):
    """A redirect is a refusal: the secret goes to the address that was given, to no other."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Connection:
    """Dials, pings, listens, backs off, dials again.

    `door` is asked at each attempt. `ping` is the text that is sent after `opened` and every
    `ping_every_s`; `pong` is called by whoever reads the answer. After a `final` loss there is no
    other attempt. `options` go to `websockets` (ssl, proxy, …). `delay` may know better than
    `timing` when the next attempt follows. `ping_frames`: all pings but the first are ping frames.
    """

    def __init__(
        self,
        talk: Talk,
        *,
        door: Callable[[], Awaitable[Door]],
        ping: str,
        final: Callable[[Loss], bool],
        timing: Timing | None = None,
        chance: Callable[[], float] = random.random,
        options: Mapping[str, Any] | None = None,
        delay: Callable[[Loss], float | None] = lambda loss: None,
        ping_frames: bool = False,
    ) -> None:
        self._talk = talk
        self._door = door
        self._ping = ping
        self._final = final
        self._timing = timing or Timing()
        self._chance = chance
        self._options = dict(options or {})
        self._delay = delay
        self._ping_frames = ping_frames
        self._socket: ClientConnection | None = None
        self._pongs: deque[asyncio.Future[bool]] = deque()
        self._heard = 0  # frames of this connection
        self._taking = False  # the last one is still being dealt with
        self._reason = ""
        self._closing = False
        self._nudged = asyncio.Event()  # the next attempt is to follow now

    @property
    def open(self) -> bool:
        return self._socket is not None

    async def run(self) -> None:
        """Until cancelled, or Stopped. Raises InvalidURI and ValueError for a wrong address."""
        failures, restarts = 0, 0
        while True:
            loss = await self._attempt()
            if self._closing:
                self._talk.lost(loss, None)
                return
            if self._final(loss):
                self._talk.lost(loss, None)
                raise Stopped(loss)
            # A secret that is refused after the socket opened is no reason to come back quickly.
            if loss.heard or (loss.opened and loss.code not in REFUSED):
                failures = 0
            restarts = restarts + 1 if loss.code == AT_ONCE and not loss.heard else 0
            delay_s = 0.0
            if loss.code != AT_ONCE or restarts > 1:  # one that only ever restarts is spared
                failures = max(failures + 1, restarts - 1)
                delay_s = self._timing.delay_s(failures, self._chance())
            own_s = self._delay(loss)
            delay_s = delay_s if own_s is None else own_s
            self._nudged.clear()
            self._talk.lost(loss, delay_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._nudged.wait()

    async def send(self, text: str) -> bool:
        """False when there is no open connection; nothing is kept for later."""
        socket = self._socket
        if socket is None:
            return False
        try:
            await socket.send(text)
        except ConnectionClosed:
            return False
        return True

    async def ping(self) -> bool:
        """True when the pong came: the server has read all that was sent before."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._pongs.append(answer)
        if not await self.send(self._ping):
            with contextlib.suppress(ValueError):
                self._pongs.remove(answer)
            return False
        return await answer

    def pong(self) -> None:
        """A pong came: it answers the oldest ping."""
        if self._pongs:
            _settle(self._pongs.popleft(), True)

    async def leave(self) -> None:
        """For the next connection: close this one, or wait no longer."""
        self._nudged.set()
        if self._socket is not None:
            await self._socket.close()

    async def close(self) -> None:
        """Close with 1000; `run` then returns, or is to be cancelled where it dials or waits."""
        self._closing = True
        if self._socket is not None:
            await self._socket.close()

    # --- one connection ---

    async def _attempt(self) -> Loss:
        self._heard, self._reason = 0, ""
        try:
            socket = await self._dial()
        except InvalidStatus as error:
            status = error.response.status_code
            return Loss("the handshake was refused", status=status)
        except (OSError, InvalidHandshake, EOFError) as error:
            return Loss(str(error) or type(error).__name__)
        return await self._converse(socket)

    async def _dial(self) -> ClientConnection:
        timing = self._timing
        try:
            async with asyncio.timeout(timing.open_timeout_s):
                door = await self._door()
        except Exception as error:  # its text might hold a piece of the secret
            raise OSError(f"no credentials: {type(error).__name__}") from None
        defaults: dict[str, Any] = {
            "open_timeout": timing.open_timeout_s,
            "close_timeout": timing.close_timeout_s,
            "ping_interval": None,  # our own pings are the protocol's
            "compression": None,
            "max_size": MAX_FRAME_BYTES,
            "logger": _quiet,
        }
        return await _NoRedirect(
            door.url, additional_headers=door.headers, **{**defaults, **self._options}
        )

    async def _converse(self, socket: ClientConnection) -> Loss:
        self._socket = socket
        beat: asyncio.Task[None] | None = None
        try:
            await self._talk.opened()
            beat = asyncio.create_task(self._beat(socket), name="heartbeat")
            async for text in socket:
                self._heard += 1
                self._taking = True
                await self._talk.received(text if isinstance(text, str) else text.decode())
                self._taking = False
        except ConnectionClosed:
            pass
        except UnicodeDecodeError:
            await socket.close(1007)
        finally:
            self._socket, self._taking = None, False
            if beat is not None:
                beat.cancel()
            while self._pongs:
                _settle(self._pongs.popleft(), False)
            if not self._reason:
                await socket.close()
        reason = self._reason or socket.close_reason or "closed"
        return Loss(reason, code=socket.close_code or 1006, opened=True, heard=self._heard > 0)

    async def _beat(self, socket: ClientConnection) -> None:
        """Ping at once and then regularly; where nothing comes in time the connection is dead."""
        within_s = self._timing.pong_within_s
        ping = self.ping
        while True:
            answer = asyncio.create_task(ping())
            heard = -1
            # A pong may stand behind a long replay, or behind what our own side is slow to take.
            while heard != self._heard or self._taking:
                heard = self._heard
                if (await asyncio.wait([answer], timeout=within_s))[0]:
                    break
            if not answer.done():
                self._reason = f"no pong within {within_s:g} s"
                socket.transport.abort()  # a closing handshake over a dead line takes for ever
                return
            if not answer.result():
                return
            await asyncio.sleep(self._timing.ping_every_s)
            if self._ping_frames:
                ping = partial(_ping_frame, socket)


async def _ping_frame(socket: ClientConnection) -> bool:
    try:
        await (await socket.ping())
    except ConnectionClosed:
        return False
    return True


def websocket(url: str) -> SplitResult:
    """The parts of a ws:// or wss:// address, also from http(s)://. Raises ValueError."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError("url: expected ws://host… or wss://host…")
    return parts._replace(scheme=scheme)


def unencrypted(url: str) -> bool:
    """Whether a secret would cross a network in the clear."""
    parts = urlsplit(url)
    return parts.scheme == "ws" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}


def _settle(answer: asyncio.Future[bool], came: bool) -> None:
    if not answer.done():
        answer.set_result(came)
