"""When connections were last heard of: as Redis has it, or the rows. Source: PROTOCOLS.md 4.5."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from django.conf import settings
from django.utils import timezone

from realtime.bus import live
from realtime.core import addresses
from realtime.core.addresses import Address
from sessions_app.models import Presence


def refresh(rows: Iterable[Presence]) -> set[str]:
    """Set `last_seen` of each to the latest that is known; the ids of those who are idle.

    Where Redis cannot say nobody is idle: somebody who is here must not be missing for it.
    """
    found = list(rows)
    told = _told(found)
    for row in found:
        if row.pk in told.at:
            at = dt.datetime.fromtimestamp(told.at[row.pk], dt.UTC)
            row.last_seen = max(row.last_seen, at)
    oldest = timezone.now() - dt.timedelta(seconds=settings.PRESENCE_TTL_S)
    return {row.pk for row in found if row.last_seen < oldest and row.node in told.nodes}


def _told(rows: list[Presence]) -> live.Told:
    nodes = {row.node: addresses.node(row.node) for row in rows}
    if not settings.REDIS_URL or not rows:
        return live.Told(nodes=set(nodes))  # the rows are told everything
    places: dict[Address, list[str]] = {}
    for row in rows:
        place = addresses.place(row.account.slug, row.protocol, row.place)
        places.setdefault(place, []).append(row.pk)
    return live.reader(settings.REDIS_URL).read(places, nodes)
