"""LogTail: this process's log lines, for the administrators who follow them on any process.

Nothing is done while nobody follows: lines are told only while a wish for them is fresh. Bounded on
every way, and what is logged in telling a line is not told. Source: PROTOCOLS.md 2.8 (logs.tail).
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from realtime.core import addresses, loglines
from realtime.core.events import Event

if TYPE_CHECKING:  # the logging set-up loads this module before Django is ready
    from realtime.bus.hub import Hub

PER_SECOND = 50  # lines that one process tells
MAX_WAITING = 500  # lines on their way to the event loop
WISH_S = 30.0  # how long a wish holds without a renewal
RENEW_S = 10.0
MAX_FIELDS = 30
MAX_TEXT = 4000  # characters of one value


@dataclass(frozen=True, slots=True)
class Wish:
    """One follower's; until a moment of the monotonic clock."""

    event: Event
    until_s: float


class LogTail:
    """`here(connection id)` tells whether a follower is of this process. Belongs to one loop."""

    def __init__(
        self,
        hub: Hub,
        *,
        here: Callable[[str], bool],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hub = hub
        self._here = here
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._wishes: dict[str, Wish] = {}
        # account -> the lowest level wished for; replaced as a whole, since any thread reads it.
        self._wanted: Mapping[str, int] = {}
        self._lock = threading.RLock()
        self._waiting: deque[tuple[str, dict[str, Any]]] = deque()
        self._left_out: Counter[str] = Counter()
        self._woken = False
        self._teller = 0  # the thread that is telling just now
        self._since_s = 0.0
        self._told = 0
        self._timer: asyncio.TimerHandle | None = None

    # --- who follows ---

    def heard(self, event: Event) -> None:
        """FOLLOW or UNFOLLOW, from whichever process."""
        connection = event.data["connection"]
        if event.name == loglines.FOLLOW:
            self._wishes[connection] = Wish(event, self._now() + WISH_S)
        else:
            self._wishes.pop(connection, None)
        self._count_wishes()

    async def renew(self) -> None:
        """Renew the wishes of this process's followers everywhere, and forget what has lapsed."""
        for connection, wish in list(self._wishes.items()):
            if self._here(connection):
                self._hub.publish([addresses.nodes()], wish.event)
            elif wish.until_s <= self._now():
                del self._wishes[connection]
        self._count_wishes()

    def _count_wishes(self) -> None:
        wanted: dict[str, int] = {}
        for wish in self._wishes.values():
            level = loglines.rank(wish.event.data["level"])
            for account in wish.event.data["accounts"]:
                wanted[account] = min(level, wanted.get(account, level))
        self._wanted = wanted

    # --- lines ---

    def offer(self, line: Mapping[str, Any]) -> None:
        """A redacted line, from any thread."""
        if not self._wanted or self._teller == threading.get_ident():
            return
        account = _account_of(line)
        least = self._wanted.get(account) if account is not None else None
        if account is None or least is None or loglines.rank(str(line.get("level"))) < least:
            return
        with self._lock:
            if len(self._waiting) < MAX_WAITING:
                self._waiting.append((account, shown(line)))
            else:
                self._left_out[account] += 1
            woken, self._woken = self._woken, True
        if not woken:
            self._loop.call_soon_threadsafe(self._tell_waiting)

    def _tell_waiting(self) -> None:
        with self._lock:
            self._woken = False
            waiting, self._waiting = self._waiting, deque()
        self._teller = threading.get_ident()
        try:
            self._begin_second()
            for account, line in waiting:
                if self._told < PER_SECOND:
                    self._told += 1
                    self._tell(account, line)
                else:
                    self._leave_out(account)
            self._tell_later()
        finally:
            self._teller = 0

    def _begin_second(self) -> None:
        now_s = self._now()
        if now_s - self._since_s < 1.0:
            return
        self._since_s, self._told = now_s, 0
        with self._lock:
            left_out, self._left_out = self._left_out, Counter()
        for account, lines in left_out.items():
            self._tell(account, _left_out(account, lines))

    def _leave_out(self, account: str) -> None:
        with self._lock:
            self._left_out[account] += 1

    def _tell_later(self) -> None:
        """What was left out is told when the second is over, though no line comes any more."""
        if self._left_out and self._timer is None:
            self._timer = self._loop.call_later(1.0, self._second_over)

    def _second_over(self) -> None:
        self._timer = None
        self._tell_waiting()

    def _tell(self, account: str, line: dict[str, Any]) -> None:
        self._hub.publish([addresses.logs(account)], Event(loglines.LINE, line))


def shown(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line as it travels: `time`, `level`, `event` and its other fields, all bounded."""
    head = {
        "time": str(line.get("timestamp", "")),
        "level": str(line.get("level", "info")),
        "event": _plain(line.get("event", "")),
    }
    others = [name for name in line if name not in {*head, "timestamp"}]
    return head | {_text(name): _plain(line[name]) for name in others[:MAX_FIELDS]}


def _account_of(line: Mapping[str, Any]) -> str | None:
    """Whose line it is; None for one about a person that does not say of which account."""
    account = line.get("account")
    if account:
        return str(account)
    return None if line.get("user") else loglines.NO_ACCOUNT


def _left_out(account: str, lines: int) -> dict[str, Any]:
    line: dict[str, Any] = {"event": "log.left_out", "level": "warning", "lines": lines}
    line["timestamp"] = dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z")
    return shown(line | {"account": account} if account else line)


def _plain(value: Any) -> Any:
    """A value that every wire can carry."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= 2**53:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return _text(value)


def _text(value: Any) -> str:
    text = str(value)
    text = text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"
    return text.encode(errors="replace").decode()


_tail: LogTail | None = None


def use(tail: LogTail | None) -> None:
    """Set who is offered the lines of this process; None: nobody."""
    global _tail
    _tail = tail


def offer(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor: behind the redaction, before the line is written."""
    if _tail is not None:
        with contextlib.suppress(Exception):  # a line is written whatever becomes of its copy
            _tail.offer(line)
    return line
