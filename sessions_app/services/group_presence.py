"""Clients of 003: whose a client id is, and who hears that somebody came or went.

Source: PROTOCOLS.md 4.5, 6. Presence rows are the record: an id is in use while a living process
holds a connection under it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from accounts.models import Account
from realtime.bus.announce import announce_recorded
from realtime.core import addresses
from realtime.core import group_messages as messages
from realtime.core.errors import ClientIdInUse
from realtime.core.events import Event
from realtime.core.principal import Principal
from sessions_app.models import Presence
from sessions_app.services import nodes


def require_free(*, principal: Principal, client_id: str) -> None:
    """Raise ClientIdInUse while another principal of the account holds the id.

    To be asked before the own row is written and once more after it: of two who come at the same
    time, the later one to write then sees the other.
    """
    connected = _rows(principal.account, client_id).filter(node__in=nodes.live())
    if connected.exclude(user=principal.id).exists():
        raise ClientIdInUse


def taken(*, node: str) -> list[str]:
    """The connections of a process whose client id another principal holds on a living one.

    For a process whose lease had lapsed: its rows did not count, though nobody may have swept them.
    """
    others = Presence.objects.filter(
        account=OuterRef("account"),
        protocol=messages.NAME,
        client_id=OuterRef("client_id"),
        node__in=nodes.live(),
    ).exclude(user=OuterRef("user"))
    ours = Presence.objects.filter(node=node, protocol=messages.NAME)
    return list(ours.filter(Exists(others)).values_list("pk", flat=True))


@contextlib.contextmanager
def in_turn(account: str) -> Iterator[None]:
    """What is announced is changed and counted by one after the other: of two tabs that come or go
    at once, one is the first or the last.
    """
    if not settings.AETHER_ANNOUNCE_PRESENCE:
        yield
        return
    with transaction.atomic():
        Account.objects.select_for_update(no_key=True).filter(slug=account).first()
        yield


def arrived(*, account: str, connection: str, place: str, client_id: str) -> None:
    """Announce who was not in the group before, if AETHER_ANNOUNCE_PRESENCE is on."""
    _announce_if_alone(account, connection, place, client_id, online=True)


def departed(*, account: str, connection: str, place: str, client_id: str) -> None:
    """Announce who has left the group with their last connection, likewise."""
    _announce_if_alone(account, connection, place, client_id, online=False)


def end(stale: QuerySet[Presence]) -> None:
    """Delete what is left of dead processes; of those who do so, one announces it."""
    if settings.AETHER_ANNOUNCE_PRESENCE:
        _end_each(stale.filter(protocol=messages.NAME))
    stale.delete()


def _end_each(stale: QuerySet[Presence]) -> None:
    clients: dict[tuple[str, str, str], list[str]] = {}
    for row in stale.select_related("account"):
        clients.setdefault((row.account.slug, row.place, row.client_id), []).append(row.pk)
    for (account, place, client_id), connections in clients.items():
        with in_turn(account):
            if stale.filter(pk__in=connections).delete()[0]:
                departed(
                    account=account, connection=connections[0], place=place, client_id=client_id
                )


def _rows(account: str, client_id: str) -> QuerySet[Presence]:
    of_003 = Presence.objects.filter(account__slug=account, protocol=messages.NAME)
    return of_003.filter(client_id=client_id)


def _announce_if_alone(
    account: str, connection: str, place: str, client_id: str, *, online: bool
) -> None:
    if not settings.AETHER_ANNOUNCE_PRESENCE:
        return
    # A dead process's rows count until they are swept: who was there and is elsewhere by then has
    # neither gone nor come.
    if _rows(account, client_id).filter(place=place).exclude(pk=connection).exists():
        return
    group_id = messages.group_of(place)
    said = messages.presence(client_id, group_id, online=online, now=time.time())
    group = addresses.group(messages.realm(account), group_id)
    announce_recorded(group, Event(messages.PRESENCE, {"message": said}))
