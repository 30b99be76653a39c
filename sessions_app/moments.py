"""How a moment is written on the wire."""

from __future__ import annotations

import datetime as dt


def rfc3339(moment: dt.datetime) -> str:
    """An aware moment in UTC, to the millisecond, with `Z`."""
    utc = moment.astimezone(dt.UTC)
    return utc.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
