"""Requests to be paired: opened, counted, expired. Source: PROTOCOLS.md 2.5, 2.6."""

from __future__ import annotations

import datetime as dt
import secrets
import uuid
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.models import Account, Pairing
from accounts.services import journal, scopes
from accounts.services.pairing_words import (
    check_readable,
    check_sender_id,
    is_sender_id,
    printable,
)
from realtime.bus.announce import announce
from realtime.core import addresses
from realtime.core.credentials import PendingPairing
from realtime.core.errors import Conflict, InvalidParams
from realtime.core.events import CHANGED, DISCONNECT, Event
from realtime.core.principal import Principal

BROWSER = "browser"
ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
CODE_LENGTH = 8


class TooManyPending(InvalidParams):
    """The limit of open requests, per client address or in all."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"max pending pairing requests ({limit}) exceeded")


@transaction.atomic
def begin(
    *, sender_id: str, user_id: str, tenant: str, address: str, user_agent: str
) -> PendingPairing:
    """A browser without a token: its open request, or a new one with a sender id made here.

    The open request is kept for its old `sender_id`, unless another user id is claimed now: an
    administrator may be looking at the old one, which must never come to mean somebody else.
    Raises TooManyPending, InvalidParams.
    """
    check_readable("user_id", user_id)
    account = hinted(tenant)
    _take_turns()
    row = _open_request(sender_id)
    if row and user_id in ("", row.user_id) and (not tenant or row.account == account):
        return _told(row)
    if row:
        Pairing.objects.filter(pk=row.pk, status=Pairing.Status.PENDING).delete()
    _check_room(address)
    row = Pairing(
        account=account,
        sender_id=str(uuid.UUID(bytes=secrets.token_bytes(16))),
        proof=True,
        channel=BROWSER,
        user_id=user_id,
        address=address[:64],
        user_agent=printable(user_agent)[:255],
    )
    _open(row)
    return _told(row)


@transaction.atomic
def request(
    *,
    principal: Principal,
    sender_id: str,
    channel: str,
    chat_id: str = "",
    account_id: str = "default",
    address: str = "",
) -> dict[str, Any]:
    """`device.pair.request`. The chosen `sender_id` is a name, not a proof: see `Pairing.proof`."""
    scopes.require(principal, "operator", "device.pair.request")
    if not sender_id or not channel:
        raise InvalidParams("senderId and channel are required")
    check_sender_id(sender_id)
    if len(channel) > 64 or len(chat_id) > 255 or len(account_id) > 64:
        raise InvalidParams("channel and accountId take 64 characters, chatId 255")
    for name, value in (("channel", channel), ("accountId", account_id), ("chatId", chat_id)):
        check_readable(name, value)
    account = Account.objects.get(slug=principal.account)
    _take_turns()
    expire(Pairing.objects.filter(sender_id=sender_id))
    same = Pairing.objects.filter(account=account, channel=channel, sender_id=sender_id)
    row = same.filter(status__in=[Pairing.Status.PENDING, Pairing.Status.APPROVED]).first()
    if row and row.status == Pairing.Status.APPROVED:
        raise Conflict("the device is already paired")
    if row is None:
        _check_room(address)
        row = Pairing(
            account=account,
            sender_id=sender_id,
            channel=channel,
            chat_id=chat_id,
            account_key=account_id or "default",
            address=address[:64],
            metadata={"requested_by": journal.actor(principal)},
        )
        _open(row)
    return {"code": row.code}


def _told(row: Pairing) -> PendingPairing:
    return PendingPairing(
        code=row.code, sender_id=row.sender_id, expires_at=row.expires_at.timestamp()
    )


def hinted(tenant: str) -> Account:
    """The account that a client hints at by slug or uuid; an unknown hint is the default one."""
    if tenant:
        try:
            found = Account.objects.filter(uuid=uuid.UUID(tenant)).first()
        except ValueError:
            found = Account.objects.filter(slug=tenant[:64]).first()
        if found:
            return found
    return Account.default()


def _take_turns() -> None:
    """Counting and adding is for one at a time, in every process: a lock on one row."""
    default = Account.default()
    Account.objects.select_for_update(no_key=True).get(pk=default.pk)


def _open_request(sender_id: str) -> Pairing | None:
    if not is_sender_id(sender_id):
        return None
    rows = Pairing.objects.select_related("account").pending(timezone.now())
    return rows.filter(sender_id=sender_id, channel=BROWSER, proof=True).first()


def _check_room(address: str) -> None:
    waiting = Pairing.objects.pending(timezone.now())
    if waiting.filter(address=address[:64]).count() >= settings.PAIRING_MAX_PENDING:
        raise TooManyPending(settings.PAIRING_MAX_PENDING)
    if waiting.count() >= settings.PAIRING_MAX_PENDING_TOTAL:
        raise TooManyPending(settings.PAIRING_MAX_PENDING_TOTAL)


def _open(row: Pairing) -> None:
    row.code = _unused_code()
    row.created_at = timezone.now()
    row.expires_at = row.created_at + dt.timedelta(seconds=settings.PAIRING_TTL_S)
    row.save(force_insert=True)
    shown = {
        "code": row.code,
        "sender_id": row.sender_id,
        "channel": row.channel,
        "chat_id": row.chat_id,
    }
    announce(addresses.deciders(row.account.slug), Event("device.pair.requested", shown))


def _unused_code() -> str:
    while True:
        code = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))
        if not Pairing.objects.filter(code=code, status=Pairing.Status.PENDING).exists():
            return code


def due(rows: Any) -> Any:
    """Those of `rows` whose time is over, but not their status."""
    now = timezone.now()
    waiting = Q(status=Pairing.Status.PENDING, expires_at__lte=now)
    return rows.filter(waiting | Q(status=Pairing.Status.APPROVED, approved_until__lte=now))


def expire(rows: Any) -> int:
    """Mark what has run out among `rows` and close the sockets of devices; how many."""
    count = 0
    for row in due(rows).select_related("account"):
        was = row.status
        if due(Pairing.objects.filter(pk=row.pk, status=was)).move(Pairing.Status.EXPIRED):
            count += 1
            slug, changed = row.account.slug, Event(CHANGED, {"what": "pairings"})
            announce([addresses.pages(slug), addresses.every_page()], changed)
            if was == Pairing.Status.APPROVED:
                announce(addresses.handle(row.handle), Event(DISCONNECT))
    return count
