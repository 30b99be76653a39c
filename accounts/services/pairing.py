"""The pairing state machine: request, status, decide, end. Source: PROTOCOLS.md 2.5, 2.6."""

from __future__ import annotations

import datetime as dt
import threading
import time
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.models import Pairing
from accounts.services import journal, pairing_requests, revocation, scopes
from accounts.services.journal import EVERY_ACCOUNT
from accounts.services.pairing_requests import BROWSER, TooManyPending, begin, hinted, request
from accounts.services.pairing_words import check_sender_id, paired, pending, printable
from realtime.bus.announce import announce
from realtime.core import addresses
from realtime.core.errors import InvalidParams, NotFound, ResourceExhausted
from realtime.core.events import Event
from realtime.core.limits import Buckets
from realtime.core.principal import Principal

__all__ = [
    "TooManyPending",
    "approve",
    "begin",
    "deny",
    "expire",
    "hinted",
    "list_",
    "request",
    "revoke",
    "rows",
    "status",
]

STATUS_PER_MINUTE = 60  # questions for the status, per client address
KEEP_UNPAIRED = dt.timedelta(days=30)

_questions = Buckets(per_minute=STATUS_PER_MINUTE, burst=STATUS_PER_MINUTE)
_questions_lock = threading.Lock()  # services run in several threads


def status(*, principal: Principal, sender_id: str, address: str = "") -> dict[str, Any]:
    """`browser.pairing.status`, for whoever knows the sender id. Raises ResourceExhausted."""
    with _questions_lock:
        wait_s = _questions.take(address, time.monotonic())
    if wait_s:
        raise ResourceExhausted("rate limited", retry_after_ms=int(wait_s * 1000) + 1)
    if not sender_id:
        raise InvalidParams("sender_id is required")
    check_sender_id(sender_id)
    now = timezone.now()
    device = Pairing.objects.filter(sender_id=sender_id, channel=BROWSER)
    if device.paired(now).exists():
        return {"status": "approved", "approved": True}
    return {"status": "pending" if device.pending(now).exists() else "expired"}


@transaction.atomic
def approve(*, principal: Principal, code: str, approved_by: str = "") -> dict[str, Any]:
    """Let the device in for PAIRED_DEVICE_TTL_S. Raises RoleTooLow, NotFound."""
    now = timezone.now()
    until = now + dt.timedelta(seconds=settings.PAIRED_DEVICE_TTL_S)
    label = printable(approved_by)[:64] or "operator"
    to = Pairing.Status.APPROVED
    row = _decide(principal, code, to, now, approved_by=label, approved_until=until)
    return {"paired": paired(row)}


@transaction.atomic
def deny(*, principal: Principal, code: str) -> dict[str, Any]:
    """Refuse the request. Raises RoleTooLow, NotFound."""
    _decide(principal, code, Pairing.Status.DENIED, timezone.now())
    return {"denied": True}


def list_(*, principal: Principal) -> dict[str, Any]:
    """What waits and what is paired in the caller's account. Raises RoleTooLow."""
    scopes.require_admin(principal, "device.pair.list")
    now = timezone.now()
    there = _rows(principal).order_by("created_at", "pk")
    return {
        "pending": [pending(row) for row in there.pending(now)],
        "paired": [paired(row) for row in there.paired(now)],
    }


@transaction.atomic
def revoke(*, principal: Principal, sender_id: str, channel: str = BROWSER) -> dict[str, Any]:
    """End a paired device and close its sockets. Raises RoleTooLow, NotFound."""
    scopes.require_admin(principal, "device.pair.revoke")
    if not sender_id:
        raise InvalidParams("sender_id is required")
    check_sender_id(sender_id)
    there = _rows(principal).filter(sender_id=sender_id, channel=channel or BROWSER)
    row = there.filter(status=Pairing.Status.APPROVED).first()
    if row is None:
        raise NotFound("paired device not found")
    revocation.device(principal=principal, pairing=row)
    return {"revoked": True}


def expire() -> int:
    """Mark what has run out and close the sockets of devices among it; how many.

    Called often, so nothing is locked while nothing is due. What let nobody in is forgotten after
    KEEP_UNPAIRED.
    """
    long_ago = timezone.now() - KEEP_UNPAIRED
    over = Q(approved_until=None, expires_at__lt=long_ago) | Q(approved_until__lt=long_ago)
    old = Pairing.objects.filter(over, status__in=[Pairing.Status.DENIED, Pairing.Status.EXPIRED])
    if not old.exists() and not pairing_requests.due(Pairing.objects.all()).exists():
        return 0
    with transaction.atomic():
        old.delete()
        return pairing_requests.expire(Pairing.objects.all())


def rows(*, principal: Principal, status: str = "") -> Any:
    """A query of the caller's account's pairings. Raises RoleTooLow."""
    scopes.require_admin(principal, "device.pair.list")
    found = _rows(principal).order_by("-pk")
    return found.filter(status=status) if status else found


def _rows(principal: Principal) -> Any:
    """The rows that exist for the caller: those of its own account."""
    found = Pairing.objects.select_related("account")
    if principal.account == EVERY_ACCOUNT:
        return found
    return found.filter(account__slug=principal.account)


def _decide(
    principal: Principal, code: str, to: Pairing.Status, now: dt.datetime, **changes: Any
) -> Pairing:
    """Move one pending request; of two deciders at once exactly one succeeds."""
    scopes.require_admin(principal, "deciding a pairing")
    if not code.strip():
        raise InvalidParams("code is required")
    gone = NotFound(f"pairing code {printable(code.strip())[:64]} not found or expired")
    waiting = _rows(principal).pending(now)
    # PostgreSQL takes no NUL, not even to look for it.
    row = None if "\x00" in code else waiting.filter(code=code.strip().upper()[:64]).first()
    if row is None:
        raise gone
    changes.update(decided_by=journal.actor(principal), decided_at=now)
    if not Pairing.objects.filter(pk=row.pk, expires_at__gt=now).move(to, **changes):
        raise gone
    row.refresh_from_db()
    resolved = Event("device.pair.resolved", {"action": to.value})
    announce(addresses.deciders(row.account.slug), resolved)
    journal.decided("pairing.decided", principal=principal, row=row, action=to.value)
    return row
