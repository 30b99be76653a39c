"""Who is connected: one row per admitted connection, valid while its node's lease is."""

from __future__ import annotations

import datetime as dt

from django.db import transaction
from django.db.models import QuerySet

from accounts.models import Account
from accounts.services import journal
from realtime.bus.announce import announce
from realtime.core import addresses
from realtime.core.errors import InvalidParams, NotFound, RoleTooLow
from realtime.core.events import DISCONNECT, NOTICE, Event
from realtime.core.principal import Principal
from sessions_app.models import Presence
from sessions_app.services import clock, group_presence, nodes
from sessions_app.services.fields import check_length

BATCH = 500
LONGEST_MESSAGE = 2000  # characters
MUTE = ("edge", "nexus")  # protocols that have no frame for it


def arrive(
    *,
    principal: Principal,
    connection: str,
    node: str,
    protocol: str,
    place: str = "",
    client_id: str = "",
    address: str = "",
) -> None:
    """Write the row of an admitted connection; a repeated call (re-authentication) replaces it."""
    account = Account.objects.filter(slug=principal.account).first()
    if account is None:
        raise NotFound(f"account not found: {principal.account}")
    told = {
        "node": node,
        "account": account,
        "user": principal.id,
        "protocol": protocol,
        "place": place,
        "client_id": client_id,
        "address": address,
        "role": principal.role,
    }
    # The database's clock: the sockets of one agent, in whatever process, are in order by it.
    Presence.objects.update_or_create(
        id=connection, defaults=told, create_defaults={**told, "since": clock.now()}
    )


def depart(*, connection: str) -> None:
    Presence.objects.filter(pk=connection).delete()


def seen(*, connections: dict[str, dt.datetime]) -> None:
    """Set when each connection (by id) last said something."""
    rows = [Presence(id=connection, last_seen=at) for connection, at in connections.items()]
    Presence.objects.bulk_update(rows, ["last_seen"], batch_size=BATCH)


def queued(*, connections: dict[str, int]) -> None:
    """Set how many bytes wait for each connection (by id)."""
    rows = [Presence(id=connection, queued_bytes=size) for connection, size in connections.items()]
    Presence.objects.bulk_update(rows, ["queued_bytes"], batch_size=BATCH)


def here(*, account: str) -> QuerySet[Presence]:
    """The connections of an account that a living process holds."""
    return Presence.objects.filter(account__slug=account, node__in=nodes.live())


def held(*, node: str) -> set[str]:
    """The ids of the connections that stand as present in one process."""
    return set(Presence.objects.filter(node=node).values_list("pk", flat=True))


def live(*, principal: Principal) -> QuerySet[Presence]:
    """All connections of the administrator's account. Raises RoleTooLow."""
    _require_admin(principal)
    return here(account=principal.account)


def own(*, principal: Principal) -> QuerySet[Presence]:
    """The connections of one person."""
    return here(account=principal.account).filter(user=principal.id)


@transaction.atomic
def disconnect(*, principal: Principal, connection: str) -> None:
    """End a connection by hand. Raises RoleTooLow, NotFound."""
    row = _present(principal, connection)
    announce(addresses.connection(row.pk), Event(DISCONNECT))
    journal.decided("connection.ended", principal=principal, row=row, action="disconnected")


@transaction.atomic
def message(*, principal: Principal, connection: str, text: str) -> None:
    """Say something to whoever is at the other end. Raises RoleTooLow, InvalidParams, NotFound."""
    row = _present(principal, connection)
    said = "".join(sign for sign in text if sign.isprintable() or sign == "\n").strip()
    if not said:
        raise InvalidParams("a message needs words")
    check_length(said, "the message", LONGEST_MESSAGE)
    if row.protocol in MUTE:
        raise InvalidParams(f"{row.protocol} has no frame for an administrator's message")
    notice = Event(NOTICE, {"text": said, "by": journal.actor(principal)})
    announce(addresses.connection(row.pk), notice)
    journal.decided("connection.messaged", principal=principal, row=row, action="messaged")


def _present(principal: Principal, connection: str) -> Presence:
    _require_admin(principal)
    row = here(account=principal.account).filter(pk=connection).first()
    if row is None:
        raise NotFound(f"connection not found: {connection}")
    return row


def sweep() -> set[str]:
    """Delete the rows of processes that have lost their lease; the accounts that they were of."""
    stale = Presence.objects.exclude(node__in=nodes.live())
    accounts = set(stale.values_list("account__slug", flat=True))
    if accounts:
        group_presence.end(stale)
    return accounts


def _require_admin(principal: Principal) -> None:
    if not principal.is_admin:
        raise RoleTooLow("permission denied: connections requires admin role")
