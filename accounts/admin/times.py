"""Moments as a person reads them: how long ago, how long left. The page's script lets them tick."""

from __future__ import annotations

import datetime as dt

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

HOUR_S = 3600


def ago(moment: dt.datetime) -> SafeString:
    """How long ago `moment` was."""
    return _time("ago", moment, short((timezone.now() - moment).total_seconds()))


def left(moment: dt.datetime) -> SafeString:
    """How long it is until `moment`: to the second within the last hour."""
    seconds = max(0, int((moment - timezone.now()).total_seconds()))
    clock = f"{seconds // 60}:{seconds % 60:02}"
    return _time("left", moment, clock if seconds < HOUR_S else short(seconds))


def short(seconds: float) -> str:
    """`42 s`, `12 min`, `5 h` or `3 d`."""
    whole = max(0, int(seconds))
    for size, unit in [(86400, "d"), (HOUR_S, "h"), (60, "min")]:
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def _time(kind: str, moment: dt.datetime, text: str) -> SafeString:
    return format_html(
        '<time class="{}" datetime="{}" title="{}">{}</time>',
        kind,
        moment.astimezone(dt.UTC).isoformat(timespec="seconds"),
        moment.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        text,
    )
