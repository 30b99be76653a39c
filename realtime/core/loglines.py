"""Log lines that travel: their levels, and the events about them. Source: PROTOCOLS.md 2.8."""

from __future__ import annotations

LINE = "log"  # {"time", "level", "event", …} to `addresses.logs(account)`
FOLLOW = "log.follow"  # {"connection", "accounts", "level"} to the processes: told for a while
UNFOLLOW = "log.unfollow"  # {"connection"} to the processes

NO_ACCOUNT = ""  # where lines go that name no account

LEVELS = ("debug", "info", "warning", "error", "critical")


def rank(level: str) -> int:
    """Place of a level in LEVELS; anything else counts as `info`."""
    return LEVELS.index(level) if level in LEVELS else LEVELS.index("info")
