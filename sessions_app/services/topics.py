"""What the server itself says on a topic. Source: PROTOCOLS.md 5.3 (`broadcast`), CONTRACT."""

from __future__ import annotations

import time
from typing import Any

from django.db import transaction

from accounts.models import Account
from accounts.services import journal
from accounts.services.scopes import require_writing
from realtime.bus.announce import announce_recorded
from realtime.core import topics, wire
from realtime.core.errors import FrameTooLarge, NotFound
from realtime.core.principal import Principal


def publish(*, principal: Principal, channel: str, data: Any) -> dict[str, Any]:
    """Tell all of the account who have subscribed to `channel`, on every process, within a second.

    Raises RoleTooLow, InvalidParams, MalformedFrame, FrameTooLarge, NotFound (account).
    """
    require_writing(principal, "publishing")
    topics.check_published(topics.check_channel(channel))
    wire.check([channel, data])
    if len(wire.encode(data).encode()) > topics.MAX_BYTES:
        raise FrameTooLarge(f"data: it takes up to {topics.MAX_BYTES} bytes")
    if not Account.objects.filter(slug=principal.account).exists():
        raise NotFound(f"account not found: {principal.account}")
    place = topics.address(principal.account, channel)
    announce_recorded(place, topics.broadcast(channel, data, now=time.time()))
    return {"channel": channel, "published": True}


@transaction.atomic
def proclaim(*, principal: Principal, channel: str, data: Any) -> None:
    """`publish`, by a person: who spoke there stands in the account's history. Raises likewise."""
    publish(principal=principal, channel=channel, data=data)
    journal.decided(
        "topic.published",
        principal=principal,
        row=Account.objects.get(slug=principal.account),
        action=f"published on {channel!r}",
    )
