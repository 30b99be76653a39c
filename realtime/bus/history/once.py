"""Once: what every process says under the same key, because each follows the announcements.

The first one numbers it, and the others learn from Redis where. Whoever could not reach Redis has
said it to its own members, and tells Redis so that nobody gives it a number afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable

from realtime.bus.history.wire import Command

STANDS_S = 900.0  # for a key in Redis; longer than an announcement is kept (`follow.KEEP`)
STANDS_MS = round(STANDS_S * 1000)
MAX_KNOWN = 10_000  # keys that a process knows by itself


class Once:
    """The keys that this process has to do with."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._waiting: dict[str, int] = {}  # the numbers of those that are on their way
        self._said: dict[str, None] = {}  # to the members in this process
        self._unnumbered: dict[str, None] = {}  # likewise, and Redis does not know

    def redis_key(self, key: str) -> str:
        return f"{self._prefix}.once.{key}"

    def sent(self, key: str, number: int) -> None:
        if key:
            self._waiting[key] = number

    def waiting(self, key: str) -> int | None:
        """The number under which this process has sent it, if it is still to be said."""
        return self._waiting.get(key)

    def said(self, key: str) -> None:
        if key:
            self._waiting.pop(key, None)
            _remember(self._said, key)

    def said_unnumbered(self, key: str) -> None:
        if key:
            self.said(key)
            _remember(self._unnumbered, key)

    def is_said(self, key: str) -> bool:
        return key in self._said

    def unnumbered(self) -> list[str]:
        return list(self._unnumbered)

    def claims(self, keys: Iterable[str]) -> list[Command]:
        """Tell Redis that these went out without a number."""
        return [("SET", self.redis_key(key), "", "PX", STANDS_MS, "NX") for key in keys]

    def claimed(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._unnumbered.pop(key, None)


def _remember(known: dict[str, None], key: str) -> None:
    known[key] = None
    if len(known) > MAX_KNOWN:
        del known[next(iter(known))]
