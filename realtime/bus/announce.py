"""announce(): a fact that goes with a committed change, heard by every process.

A row in the caller's own transaction; after the commit a hint that only makes it quicker. Rolled
back: nobody hears. Committed: every process hears, with the bus down or the committing process
dead, because each follows the rows by itself (`realtime.bus.follow`). Streamed chunks and what
peers say to groups and topics need no row: they go through `Hub.publish` and `Hub.record`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from django.db import transaction

from realtime.core.addresses import Address
from realtime.core.events import Event
from realtime.models import Announcement

_hint: Callable[[], None] | None = None


def announce(addresses: Address | Sequence[Address], event: Event) -> int:
    """Tell everyone at `addresses` once the surrounding transaction commits; the row's id.

    A member of several of the addresses hears it once.
    """
    targets = [addresses] if isinstance(addresses, Address) else addresses
    (row,) = Announcement.rows([(targets, event)])
    row.save()
    transaction.on_commit(_give_hint, robust=True)
    return row.pk


def announce_recorded(address: Address, event: Event) -> None:
    """As `announce`, at an address with a history: it is numbered there, once for all processes."""
    (row,) = Announcement.rows([([address], event)])
    row.once = secrets.token_hex(16)
    row.save()
    transaction.on_commit(_give_hint, robust=True)


def announce_all(facts: Sequence[tuple[Sequence[Address], Event]]) -> None:
    """As `announce`, for many facts of one transaction, in this order."""
    Announcement.objects.bulk_create(Announcement.rows(facts))
    transaction.on_commit(_give_hint, robust=True)


def use_hint(hint: Callable[[], None] | None) -> None:
    """Set what a commit calls, from any thread; None in a process that follows nothing."""
    global _hint
    _hint = hint


def _give_hint() -> None:
    if _hint is not None:
        _hint()
