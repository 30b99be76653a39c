"""Whose a client id is, and who is told of coming and going. Source: PROTOCOLS.md 4.5, 6."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from realtime.core import addresses
from realtime.core.errors import ClientIdInUse
from realtime.core.principal import Principal
from realtime.dispatch import _arrive_in_group, _depart, _enter
from realtime.models import Announcement
from realtime.neighbours import Arrival
from sessions_app.models import Presence
from sessions_app.services import group_presence, nodes, presence
from tests.accounts.test_concurrency import at_once

Enter = Callable[..., None]


@pytest.fixture
def enter(node: str, alice: Principal) -> Enter:
    """`enter(connection, **fields)`: a client's row, as `presence.arrive` writes it."""

    def go(connection: str, **fields: Any) -> None:
        given = {"protocol": "aether", "place": "aether:g", "client_id": "c", "node": node}
        presence.arrive(**{"principal": alice, "connection": connection} | given | fields)

    return go


def told() -> list[tuple[str, str]]:
    """Who was announced as what, to the group `g` of the default account."""
    group = addresses.group("aether:default", "g")
    said = [fact for row in Announcement.objects.order_by("id") for fact in row.said]
    events = [event for targets, some in said if list(targets) == [group] for event in some]
    messages = [event.data["message"] for event in events]
    return [(message["from_id"], message["payload"]["status"]) for message in messages]


def test_an_id_is_free_for_who_has_it_and_for_other_accounts(
    enter: Enter, alice: Principal, other_alice: Principal, other_admin: Principal
) -> None:
    enter("1")
    for principal in (alice, other_alice, other_admin):
        group_presence.require_free(principal=principal, client_id="c")


def test_an_id_is_in_use_for_anybody_else_of_the_account_administrators_too(
    enter: Enter, bob: Principal, admin: Principal
) -> None:
    enter("1", place="aether:another group")
    for principal in (bob, admin):
        with pytest.raises(ClientIdInUse):
            group_presence.require_free(principal=principal, client_id="c")
        group_presence.require_free(principal=principal, client_id="C")


def test_an_id_is_free_when_its_holder_has_left_or_its_process_is_dead(
    enter: Enter, bob: Principal, dead_node: str
) -> None:
    enter("1", node=dead_node)
    enter("2", protocol="edge")
    group_presence.require_free(principal=bob, client_id="c")
    enter("3")
    presence.depart(connection="3")
    group_presence.require_free(principal=bob, client_id="c")


def test_of_two_who_come_at_once_no_two_stay(
    enter: Enter, node: str, bob: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one's row appears between the first look and the own row."""
    looked = group_presence.require_free

    def look(**fields: Any) -> None:
        looked(**fields)
        if not Presence.objects.exists():
            enter("1")

    monkeypatch.setattr(group_presence, "require_free", look)
    arrival = Arrival("2", bob, "aether", "aether:g", "c", "")
    with pytest.raises(ClientIdInUse):
        _arrive_in_group(arrival, node)
    assert [row.pk for row in Presence.objects.all()] == ["1"]


def test_nothing_is_announced_by_default(enter: Enter) -> None:
    enter("1")
    gone = {"account": "default", "connection": "1", "place": "aether:g", "client_id": "c"}
    group_presence.arrived(**gone)
    group_presence.departed(**gone)
    assert told() == []


def test_the_first_arrival_and_the_last_departure_of_an_id_are_announced(
    enter: Enter, settings: Any
) -> None:
    settings.AETHER_ANNOUNCE_PRESENCE = True
    for connection in ("1", "2"):
        enter(connection)
        group_presence.arrived(
            account="default", connection=connection, place="aether:g", client_id="c"
        )
    assert told() == [("c", "online")]
    for connection in ("1", "2"):
        presence.depart(connection=connection)
        group_presence.departed(
            account="default", connection=connection, place="aether:g", client_id="c"
        )
    assert told() == [("c", "online"), ("c", "offline")]


def test_who_was_on_a_dead_process_is_announced_as_gone_unless_here_as_well(
    enter: Enter, dead_node: str, settings: Any, other_alice: Principal
) -> None:
    settings.AETHER_ANNOUNCE_PRESENCE = True
    enter("1", node=dead_node)
    enter("2", node=dead_node)
    enter("3", node=dead_node, client_id="stays")
    enter("4", client_id="stays")
    group_presence.arrived(account="default", connection="4", place="aether:g", client_id="stays")
    enter("5", node=dead_node, principal=other_alice)
    assert presence.sweep() == {"default", "other"}
    assert told() == [("c", "offline")]
    assert [row.pk for row in Presence.objects.all()] == ["4"]


@pytest.mark.django_db(transaction=True)
def test_of_those_who_sweep_at_once_one_announces_and_each_client_once(
    enter: Enter, dead_node: str, settings: Any
) -> None:
    settings.AETHER_ANNOUNCE_PRESENCE = True
    for number in range(40):
        enter(str(number), node=dead_node, client_id=f"c{number % 20}")
    at_once(*[presence.sweep] * 6)
    assert Counter(told()) == {(f"c{number}", "offline"): 1 for number in range(20)}
    assert not Presence.objects.exists()


def test_a_client_id_is_taken_by_another_principal_of_the_account_who_lives(
    enter: Enter, node: str, dead_node: str, bob: Principal, other_admin: Principal
) -> None:
    for number in range(5):
        enter(str(number), client_id=f"c{number}")
    nodes.renew(node="elsewhere", host="there", pid=3, lease_s=60)
    enter("a", client_id="c0", principal=bob, node="elsewhere", place="aether:another group")
    enter("b", client_id="c1", principal=bob, node=dead_node)
    enter("c", client_id="c2", principal=other_admin, node="elsewhere")
    enter("d", client_id="c3", node="elsewhere")
    enter("e", client_id="c4", principal=bob, node="elsewhere", protocol="edge")
    assert group_presence.taken(node=node) == ["0"]


@pytest.mark.django_db(transaction=True)
def test_of_tabs_that_come_or_go_at_once_one_is_the_first_and_one_the_last(
    node: str, alice: Principal, settings: Any
) -> None:
    settings.AETHER_ANNOUNCE_PRESENCE = True
    for number in range(5):
        client_id = f"c{number}"
        tabs = [Arrival(f"{n}", alice, "aether", "aether:g", client_id, "") for n in range(4)]
        at_once(*[partial(_enter, tab, node) for tab in tabs])
        assert told()[-1] == (client_id, "online")
        at_once(*[partial(_depart, tab.connection, tab) for tab in tabs])
        assert told()[-1] == (client_id, "offline")
    assert len(told()) == 10


def test_who_has_come_back_meanwhile_is_not_swept(enter: Enter, dead_node: str) -> None:
    enter("1", node=dead_node)
    stale = Presence.objects.exclude(node="node-1")
    list(stale)
    enter("1")
    group_presence.end(stale)
    assert [row.pk for row in Presence.objects.all()] == ["1"]
