"""Sizes, rates and deadlines; the clock is passed in. Source: PROTOCOLS.md 2.10."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from realtime.core.errors import FrameTooLarge

# The largest frame a peer may send, by protocol. PROTOCOLS.md 0.2.
MAX_FRAME_BYTES = {
    "edge": 1024 * 1024,
    "goclaw": 512 * 1024,
    "remote": 1024 * 1024,
    "aether": 64 * 1024,
    "nexus": 1024 * 1024,
    "admin": 4 * 1024,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one protocol allows a peer."""

    max_frame_bytes: int = 1024 * 1024
    messages_per_s: float = 0  # of one connection, where a protocol has such a limit; 0: off
    tell_rate_limit: bool = False  # answer a limited request instead of dropping it
    greeting_s: float = 10.0  # time to say `connect`
    greeting_retry_s: float = 60.0  # time for another `connect` after a failed one
    outbound_max_bytes: int = 1024 * 1024
    outbound_max_frames: int = 4096


def check_size(text: str | bytes, most: int) -> None:
    """Raises FrameTooLarge. For servers that read the whole frame first; ours decided this at its
    header.
    """
    if len(text) * 4 > most:  # a character is at most four bytes
        size = len(text) if isinstance(text, bytes) else len(text.encode())
        if size > most:
            raise FrameTooLarge(f"frame larger than {most} bytes")


class Strikes:
    """At most `most` failures of one key within `within_s` seconds; `keys` of them are remembered.

    As in `Buckets`, the least recently used is forgotten first. Source: PROTOCOLS.md 3.10 (2).
    """

    def __init__(self, *, most: int, within_s: float, keys: int = 10_000) -> None:
        self._most = most
        self._within_s = within_s
        self._keys = keys
        self._struck: OrderedDict[str, list[float]] = OrderedDict()

    def strike(self, key: str, now: float) -> bool:
        """One more failure; False when it is one too many."""
        recent = [at for at in self._struck.pop(key, []) if now - at < self._within_s]
        allowed = len(recent) < self._most
        if allowed:
            recent.append(now)
        self._struck[key] = recent
        if len(self._struck) > self._keys:
            self._struck.popitem(last=False)
        return allowed

    def forgive(self, key: str) -> None:
        self._struck.pop(key, None)


class TokenBucket:
    """Allow ``burst`` at once and ``per_minute`` sustained; ``now`` in monotonic seconds.

    Source: PROTOCOLS.md 2.10 (burst 5).
    """

    __slots__ = ("_burst", "_per_second", "_tokens", "_updated")

    def __init__(self, *, per_minute: float, burst: int, now: float) -> None:
        self._per_second = per_minute / 60
        self._burst = burst
        self._tokens = float(burst)
        self._updated = now

    def take(self, now: float) -> float:
        """0.0 when the request may pass, else the seconds until one may."""
        wait_s = self.wait(now)
        if not wait_s:
            self._tokens -= 1
        return wait_s

    def wait(self, now: float) -> float:
        """As `take`, without taking."""
        elapsed = max(0.0, now - self._updated)
        self._tokens = min(self._burst, self._tokens + elapsed * self._per_second)
        self._updated = now
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) / self._per_second


class Buckets:
    """One bucket for each key (a user, over all their connections); at most ``most`` are
    remembered.

    The least recently used is forgotten first: forgetting is in the peer's favour, memory is ours.
    """

    def __init__(self, *, per_minute: float, burst: int, most: int = 10_000) -> None:
        self._per_minute = per_minute
        self._burst = burst
        self._most = most
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, key: str, now: float) -> float:
        """As `TokenBucket.take`; always 0.0 when the limit is off."""
        if self._per_minute <= 0:
            return 0.0
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = TokenBucket(per_minute=self._per_minute, burst=self._burst, now=now)
            self._buckets[key] = bucket
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return bucket.take(now)

    def wait(self, key: str, now: float) -> float:
        """As `TokenBucket.wait`."""
        bucket = self._buckets.get(key)
        return bucket.wait(now) if bucket is not None else 0.0
