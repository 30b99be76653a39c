"""Lifetimes as people write them: `90`, `90s`, `15m`, `12h`, `30d`."""

from __future__ import annotations

import datetime as dt
import re

from realtime.core.errors import InvalidParams

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_WRITTEN = re.compile(r"([0-9]{1,9})([smhd]?)\Z")
LONGEST = dt.timedelta(days=3650)


def parse(text: str) -> dt.timedelta:
    """A positive lifetime of at most ten years; a bare number is seconds. Raises InvalidParams."""
    found = _WRITTEN.match(text.strip().lower())
    if found is not None:
        seconds = int(found[1]) * _SECONDS[found[2]]
        if 0 < seconds <= LONGEST.total_seconds():
            return dt.timedelta(seconds=seconds)
    raise InvalidParams(f"{text[:32]!r} is no lifetime such as 30d, 12h, 15m or 90s")
