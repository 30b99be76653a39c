"""Topics: how they are named, and what is said on them. Source: PROTOCOLS.md 5, 6."""

from __future__ import annotations

import datetime as dt
from typing import Any

from realtime.core import addresses
from realtime.core.addresses import Address
from realtime.core.errors import InvalidParams
from realtime.core.events import Event
from realtime.core.limits import MAX_FRAME_BYTES

MESSAGE = "nexus.message"  # {"channel", "from", "data"?, "timestamp"}: a client has published
BROADCAST = "nexus.broadcast"  # {"channel", "data", "timestamp"}: said by the server

FOREIGN = "nexus:"  # how the id of somebody begins whose token is not ours (PROTOCOLS.md 6)

TELEMETRY = "telemetry"  # where other programs speak, over Redis: `realtime.bus.outside`
OF_AGENTS = "agent."  # how the topics begin on which only the server speaks
MAX_CHANNEL = 256  # characters
MAX_BYTES = MAX_FRAME_BYTES["nexus"]  # of what is said by other ways than a frame, too


def address(account: str, channel: str) -> Address:
    return addresses.topic(f"nexus:{account}", channel)


def check_channel(given: Any) -> str:
    """A channel's name. Raises InvalidParams."""
    if given is None or given == "":
        raise InvalidParams("channel is required")
    if not isinstance(given, str) or len(given) > MAX_CHANNEL:
        raise InvalidParams(f"channel takes a text of up to {MAX_CHANNEL} characters")
    return given


def check_published(channel: str) -> None:
    """Raises InvalidParams for a topic that takes no publishing."""
    if channel.startswith(OF_AGENTS):
        raise InvalidParams(f"topics beginning with {OF_AGENTS} take no publishing")


def broadcast(channel: str, data: Any, *, now: float) -> Event:
    """`now`: seconds since the epoch."""
    return Event(BROADCAST, {"channel": channel, "data": data, "timestamp": written(now)})


def written(now: float) -> str:
    """A moment, in seconds since the epoch, as 004 writes it: UTC, to the millisecond, with `Z`."""
    moment = dt.datetime.fromtimestamp(now, dt.UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
