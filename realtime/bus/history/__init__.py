"""History: what was said at an address lately, numbered, so that a subscriber recovers what it
missed.

`memory` keeps it in a process without Redis, `streams` in Redis; `gate` joins replay and live.
"""

from __future__ import annotations

from realtime.bus.history.keeping import Bounds, History, Nothing
from realtime.bus.history.memory import Memory
from realtime.bus.history.streams import Streams
from realtime.bus.layer import PubSubLayer


def history_of(bounds: Bounds, redis_url: str, layer: PubSubLayer | None) -> History:
    """What a process keeps; every process of a fleet must have the same bounds."""
    if not bounds.keeps:
        return Nothing()
    if layer is None:
        return Memory(bounds)
    return Streams(redis_url, bounds, frame=layer.frame)
