"""Once: what every process says under the same key, because each follows the announcements.

The first one numbers it, and the others learn from Redis where. A Redis that comes back is told
what has been said already, so that nobody gives it a number once more.
"""

from __future__ import annotations

from realtime.bus.history.wire import Command

STANDS_S = 900.0  # for a key in Redis; longer than an announcement is kept (`follow.KEEP`)
STANDS_MS = round(STANDS_S * 1000)
MAX_KNOWN = 10_000  # keys that a process knows by itself


class Once:
    """The keys that this process has to do with; `prefix` is of their names in Redis."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._waiting: dict[str, int] = {}  # the numbers of those that are on their way
        self._said: dict[str, None] = {}  # to the members in this process, the newest last

    def redis_key(self, key: str) -> str:
        return f"{self._prefix}.once.{key}"

    def sent(self, key: str, number: int) -> None:
        if key:
            self._waiting[key] = number

    def waiting(self, key: str) -> int | None:
        """The number under which this process has sent it, if it is still to be said."""
        return self._waiting.get(key)

    def said(self, key: str) -> None:
        if not key:
            return
        self._waiting.pop(key, None)
        self._said[key] = None
        if len(self._said) > MAX_KNOWN:
            del self._said[next(iter(self._said))]

    def is_said(self, key: str) -> bool:
        return key in self._said

    def claims(self) -> list[Command]:
        """For Redis: if it does not know of these, they went out without a number."""
        return [("SET", self.redis_key(key), "", "PX", STANDS_MS, "NX") for key in self._said]
