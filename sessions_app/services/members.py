"""Who is here, of all protocols in one list. Source: CONTRACT (presence), PROTOCOLS.md 4.5, 6.

Several connections of one client id in one place are one member, until the last of them leaves.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Q, QuerySet

from accounts.services import scopes
from realtime.core import group_messages as messages
from realtime.core import ids
from realtime.core.principal import Principal
from sessions_app.models import Presence
from sessions_app.services import last_seen, presence

AT_ONCE = 500
PAGES = "admin"  # the live pages' own wire: who looks is not a member

_Client = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Member:
    """None: what its wire has no name for."""

    client_id: str | None
    user: str | None
    group: str | None
    protocol: str
    since: dt.datetime
    last_seen: dt.datetime


def rows(*, principal: Principal, group_id: str = "") -> QuerySet[Presence]:
    """Of each member of the account, or of one group of 003, the row of its first connection.

    Raises RoleTooLow, NotFound (a group that cannot be).
    """
    scopes.require(principal, "operator", "presence")
    here = presence.here(account=principal.account).exclude(protocol=PAGES)
    if group_id:
        place = messages.place(ids.check("group", group_id))
        here = here.filter(protocol=messages.NAME, place=place)
    same = presence.here(account=principal.account).filter(
        **{name: OuterRef(name) for name in ("protocol", "place", "client_id", "user")}
    )
    before = Q(since__lt=OuterRef("since")) | Q(since=OuterRef("since"), pk__lt=OuterRef("pk"))
    return here.filter(Q(client_id="") | ~Exists(same.filter(before))).select_related("account")


def told(*, principal: Principal, first: Iterable[Presence]) -> list[Member]:
    """The members that these `rows` stand for, without the idle."""
    clients: dict[_Client, list[Presence]] = {_client(row): [row] for row in first}
    others = presence.here(account=principal.account).filter(
        protocol__in={protocol for protocol, *_ in clients},
        client_id__in={row.client_id for [row] in clients.values()} - {""},
    )
    for row in others.select_related("account"):
        found = clients.get(_client(row), [])
        if found and found[0].pk != row.pk:
            found.append(row)
    idle = last_seen.refresh(row for found in clients.values() for row in found)
    heard = {key: [row for row in found if row.pk not in idle] for key, found in clients.items()}
    return [_member(clients[key][0], found) for key, found in heard.items() if found]


def everyone(*, principal: Principal, group_id: str = "") -> Iterator[Member]:
    """All members, whoever came first first. Raises as `rows`."""
    first = list(rows(principal=principal, group_id=group_id).order_by("since", "pk"))
    for start in range(0, len(first), AT_ONCE):
        yield from told(principal=principal, first=first[start : start + AT_ONCE])


def _client(row: Presence) -> _Client:
    """What makes several connections one member; without a client id each is its own.

    On 003 a client id is one person's; 002 has a name for the part alone, which many play.
    """
    return row.protocol, row.place, row.client_id or row.pk, row.user


def _member(first: Presence, heard: list[Presence]) -> Member:
    return Member(
        client_id=first.client_id or None,
        user=first.user or None,
        group=first.group,
        protocol=first.protocol,
        since=first.since,
        last_seen=max(row.last_seen for row in heard),
    )
