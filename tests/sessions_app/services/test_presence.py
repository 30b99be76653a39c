from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry

from accounts.models import Account, User
from accounts.services import credentials
from realtime.core import addresses
from realtime.core.errors import InvalidParams, NotFound, RoleTooLow
from realtime.core.events import DISCONNECT, NOTICE
from realtime.core.principal import Principal
from sessions_app.models import Presence
from sessions_app.services import presence

Arrive = Callable[..., None]
STRANGERS = ["owner", "stranger", "other tenant's owner"]


@pytest.fixture
def arrive(node: str, alice: Principal) -> Arrive:
    def arrive(connection: str, **fields: Any) -> None:
        given = {"principal": alice, "connection": connection, "node": node, "protocol": "goclaw"}
        presence.arrive(**given | fields)

    return arrive


def ids(principal: Principal) -> list[str]:
    return [row.pk for row in presence.live(principal=principal)]


def test_an_arrival_is_a_row(arrive: Arrive) -> None:
    arrive("c-1", place="main", client_id="k", address="127.0.0.1")
    row = Presence.objects.get()
    assert (row.pk, row.node, row.account.slug, row.user, row.protocol) == (
        "c-1",
        "node-1",
        "default",
        "alice",
        "goclaw",
    )
    assert (row.place, row.client_id, row.address, row.role) == (
        "main",
        "k",
        "127.0.0.1",
        "operator",
    )


def test_a_connection_that_proves_another_identity_is_still_one_row(
    arrive: Arrive, admin: Principal
) -> None:
    arrive("c-1")
    since = Presence.objects.get().since
    arrive("c-1", principal=admin)
    row = Presence.objects.get()
    assert (row.user, row.role, row.since) == ("root", "admin", since)


def test_an_account_that_does_not_exist_has_nobody_present(arrive: Arrive) -> None:
    with pytest.raises(NotFound, match="account not found: nowhere"):
        arrive("c-1", principal=Principal(id="a", account="nowhere"))


def test_who_departs_is_gone_and_may_depart_again(arrive: Arrive) -> None:
    arrive("c-1")
    arrive("c-2")
    presence.depart(connection="c-1")
    presence.depart(connection="c-1")
    assert list(Presence.objects.values_list("id", flat=True)) == ["c-2"]


def test_many_are_seen_at_once(arrive: Arrive, django_assert_num_queries: Any) -> None:
    for number in range(5):
        arrive(f"c-{number}")
    moments = {f"c-{number}": dt.datetime(2030, 1, 1, number, tzinfo=dt.UTC) for number in range(4)}
    with django_assert_num_queries(1):
        presence.seen(connections=moments | {"gone": dt.datetime(2030, 1, 1, tzinfo=dt.UTC)})
    seen = dict(Presence.objects.values_list("id", "last_seen"))
    assert {name: seen[name] for name in moments} == moments
    assert seen["c-4"].year != 2030


def test_nobody_seen_is_no_work(db: None, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        presence.seen(connections={})
        presence.queued(connections={})


def test_what_waits_for_whom_is_kept(arrive: Arrive) -> None:
    arrive("c-1")
    arrive("c-2")
    presence.queued(connections={"c-1": 70_000, "gone": 1})
    assert dict(Presence.objects.values_list("id", "queued_bytes")) == {"c-1": 70_000, "c-2": 0}


def test_an_admin_sees_the_accounts_connections_on_living_processes(
    arrive: Arrive,
    people: dict[str, Principal],
    dead_node: str,
) -> None:
    arrive("c-1")
    arrive("c-2", principal=people["stranger"])
    arrive("c-3", principal=people["other tenant's owner"])
    arrive("c-4", node=dead_node)
    arrive("c-5", node="never-heard-of")
    assert ids(people["admin"]) == ["c-1", "c-2"]
    assert ids(people["other tenant's admin"]) == ["c-3"]


@pytest.mark.parametrize("who", STRANGERS)
def test_nobody_else_sees_connections(people: dict[str, Principal], who: str) -> None:
    with pytest.raises(RoleTooLow, match="connections requires admin role"):
        presence.live(principal=people[who])


def test_everybody_has_their_own(arrive: Arrive, bob: Principal, other_alice: Principal) -> None:
    arrive("c-1")
    arrive("c-2", principal=other_alice)
    assert [row.pk for row in presence.own(principal=other_alice)] == ["c-2"]
    assert not presence.own(principal=bob).exists()


def test_an_admin_ends_a_connection_where_it_lives(
    arrive: Arrive, admin: Principal, told: Any
) -> None:
    arrive("c-1")
    presence.disconnect(principal=admin, connection="c-1")
    [(targets, event)] = told()
    assert targets == [addresses.connection("c-1")]
    assert (event.name, event.data) == (DISCONNECT, {})


@pytest.mark.parametrize("who", STRANGERS)
def test_nobody_else_ends_connections(
    arrive: Arrive, people: dict[str, Principal], told: Any, who: str
) -> None:
    arrive("c-1")
    with pytest.raises(RoleTooLow):
        presence.disconnect(principal=people[who], connection="c-1")
    assert told() == []


def test_a_connection_of_another_account_does_not_exist(
    arrive: Arrive, other_admin: Principal, told: Any
) -> None:
    arrive("c-1")
    for connection in ("c-1", "c-9"):
        with pytest.raises(NotFound, match=f"^connection not found: {connection}$"):
            presence.disconnect(principal=other_admin, connection=connection)
    assert told() == []


def test_an_admin_says_something_to_one_connection(
    arrive: Arrive, admin: Principal, told: Any
) -> None:
    arrive("c-1")
    text = "  two\nlines \u202e\x00and more  "
    presence.message(principal=admin, connection="c-1", text=text)
    [(targets, event)] = told()
    assert targets == [addresses.connection("c-1")]
    assert (event.name, event.data) == (NOTICE, {"text": "two\nlines and more", "by": "root"})


@pytest.mark.parametrize("text", ["", " \n ", "\x00", "x" * 2001])
def test_a_message_needs_words_and_an_end(
    arrive: Arrive, admin: Principal, told: Any, text: str
) -> None:
    arrive("c-1")
    with pytest.raises(InvalidParams):
        presence.message(principal=admin, connection="c-1", text=text)
    assert told() == []


@pytest.mark.parametrize("protocol", ["edge", "nexus"])
def test_who_has_no_frame_for_a_message_is_not_said_to_have_got_it(
    arrive: Arrive, admin: Principal, told: Any, protocol: str
) -> None:
    arrive("c1", protocol=protocol)
    with pytest.raises(InvalidParams, match=f"{protocol} has no frame"):
        presence.message(principal=admin, connection="c1", text="hello")
    assert told() == []


@pytest.mark.parametrize("who", [*STRANGERS, "other tenant's admin"])
def test_nobody_else_says_anything(
    arrive: Arrive, people: dict[str, Principal], told: Any, who: str
) -> None:
    arrive("c-1")
    with pytest.raises((RoleTooLow, NotFound)):
        presence.message(principal=people[who], connection="c-1", text="hello")
    assert told() == []


def test_what_an_admin_does_to_a_connection_is_in_the_history_with_the_actor(
    arrive: Arrive, accounts: None
) -> None:
    arrive("c-1")
    user = User.objects.create_user("root", is_staff=True)
    user.memberships.create(account=Account.objects.get(slug="default"), role="admin")
    root = credentials.of_user(user=user)
    presence.message(principal=root, connection="c-1", text="a private word")
    presence.disconnect(principal=root, connection="c-1")
    entries = LogEntry.objects.order_by("pk")
    assert [(entry.user, entry.object_id) for entry in entries] == [(user, "c-1")] * 2
    assert [entry.change_message for entry in entries] == [
        "messaged by root (session)",
        "disconnected by root (session)",
    ]


def test_the_rows_of_dead_processes_are_swept(arrive: Arrive, dead_node: str) -> None:
    arrive("c-1")
    arrive("c-2", node=dead_node)
    arrive("c-3", node="never-heard-of")
    assert presence.sweep() == {"default"}
    assert presence.sweep() == set()
    assert Presence.objects.get().pk == "c-1"
