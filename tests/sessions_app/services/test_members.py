"""Who is here, and who counts as idle. Source: CONTRACT (presence), PROTOCOLS.md 4.5, 6."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection as database
from django.utils import timezone

from realtime.bus import live
from realtime.core import addresses
from realtime.core.errors import NotFound, RoleTooLow
from realtime.core.principal import Principal
from sessions_app.models import Presence
from sessions_app.services import group_presence, last_seen, members, presence

Enter = Callable[..., None]
Row = tuple[str | None, str | None, str | None, str]


@pytest.fixture(autouse=True)
def rows_are_told(settings: Any) -> None:
    """Without Redis, unless a test says otherwise."""
    settings.REDIS_URL = ""


@pytest.fixture
def enter(node: str, alice: Principal) -> Enter:
    """`enter(connection, age_s, **fields)`: a row whose last word is `age_s` seconds old."""

    def go(connection: str, age_s: float = 0, **fields: Any) -> None:
        given = {"protocol": "aether", "place": "aether:g", "client_id": "c", "node": node}
        presence.arrive(**{"principal": alice, "connection": connection} | given | fields)
        at = timezone.now() - dt.timedelta(seconds=age_s)
        Presence.objects.filter(pk=connection).update(last_seen=at)

    return go


def here(principal: Principal, group_id: str = "") -> list[Row]:
    found = members.everyone(principal=principal, group_id=group_id)
    return [(one.client_id, one.user, one.group, one.protocol) for one in found]


def test_all_protocols_are_in_one_list_whoever_came_first_first(
    enter: Enter, alice: Principal, bob: Principal
) -> None:
    enter("1")
    enter("2", protocol="edge", place="edge", client_id="edge_1", principal=bob)
    enter("3", protocol="goclaw", place="goclaw", client_id="")
    enter("4", protocol="nexus", place="nexus", client_id="", principal=bob)
    enter("5", protocol="remote", place="remote", client_id="", principal=bob)
    enter("6", protocol="admin", place="admin", client_id="")  # who looks at pages is no member
    guest = Principal(id="", account="default", role="viewer")
    enter("7", client_id="guest", principal=guest)
    assert here(alice) == [
        ("c", "alice", "g", "aether"),
        ("edge_1", "bob", None, "edge"),
        (None, "alice", None, "goclaw"),
        (None, "bob", None, "nexus"),
        (None, "bob", None, "remote"),
        ("guest", None, "g", "aether"),
    ]


def test_a_group_is_one_of_003_and_named_exactly(enter: Enter, alice: Principal) -> None:
    enter("1", client_id="in")
    enter("2", client_id="elsewhere", place="aether:g2")
    enter("3", client_id="odd", place="aether:goclaw ü:\\%_")
    enter("4", protocol="goclaw", place="goclaw", client_id="")
    assert here(alice, "g") == [("in", "alice", "g", "aether")]
    assert here(alice, "goclaw ü:\\%_") == [("odd", "alice", "goclaw ü:\\%_", "aether")]
    assert here(alice, "goclaw") == here(alice, "G") == []


@pytest.mark.parametrize("group_id", ["\x00", "x" * 129])
def test_a_group_that_cannot_be_is_not_found(alice: Principal, group_id: str) -> None:
    with pytest.raises(NotFound):
        members.rows(principal=alice, group_id=group_id)


def test_several_tabs_count_once_until_the_last_leaves(enter: Enter, alice: Principal) -> None:
    enter("1", age_s=50)
    enter("2", age_s=10)
    enter("other place", place="aether:g2")
    first = Presence.objects.get(pk="1")
    [one] = members.everyone(principal=alice, group_id="g")
    assert one.since == first.since
    assert one.last_seen == Presence.objects.get(pk="2").last_seen
    presence.depart(connection="1")  # the late clean-up of an old socket
    [one] = members.everyone(principal=alice, group_id="g")
    assert one.since == Presence.objects.get(pk="2").since
    presence.depart(connection="2")
    assert here(alice, "g") == []
    assert here(alice) == [("c", "alice", "g2", "aether")]


def test_connections_without_a_client_id_are_each_their_own(enter: Enter, alice: Principal) -> None:
    for connection in ("1", "2"):
        enter(connection, protocol="goclaw", place="goclaw", client_id="")
    assert len(here(alice)) == 2


def test_members_of_a_dead_process_are_not_here_and_hide_nobody(
    enter: Enter, dead_node: str, alice: Principal
) -> None:
    enter("1", node=dead_node)
    enter("2", node=dead_node, client_id="gone")
    enter("3")
    [one] = members.everyone(principal=alice)
    assert (one.client_id, one.since) == ("c", Presence.objects.get(pk="3").since)


def test_another_accounts_members_do_not_exist(
    enter: Enter, people: dict[str, Principal], node: str
) -> None:
    enter("1")
    enter("2", principal=people["other tenant's owner"])
    for who in ("owner", "stranger", "admin"):
        assert here(people[who], "g") == [("c", "alice", "g", "aether")]
    for who in ("other tenant's owner", "other tenant's admin"):
        assert len(here(people[who])) == 1
    presence.depart(connection="2")
    assert here(people["other tenant's admin"]) == []
    superuser = Principal(id="z", account="other", role="admin", is_superuser=True)
    assert here(superuser) == []


def test_a_viewer_does_not_see_who_is_here(enter: Enter) -> None:
    with pytest.raises(RoleTooLow, match="presence requires operator role"):
        members.rows(principal=Principal(id="v", account="default", role="viewer"))


def test_who_is_idle_for_longer_than_the_window_is_not_listed_but_stays(
    enter: Enter, alice: Principal, bob: Principal, settings: Any
) -> None:
    settings.PRESENCE_TTL_S = 60
    enter("1", age_s=59, client_id="quiet")
    enter("2", age_s=61, client_id="idle")
    enter("3", age_s=61, client_id="one tab is idle")
    enter("4", age_s=1, client_id="one tab is idle")
    assert [row[0] for row in here(alice)] == ["quiet", "one tab is idle"]
    assert presence.here(account="default").count() == 4
    with pytest.raises(Exception, match="in use"):  # its id is still its own
        group_presence.require_free(principal=bob, client_id="idle")
    enter("2", client_id="idle")
    assert len(here(alice)) == 3


def test_many_members_are_read_in_a_few_statements(
    enter: Enter, alice: Principal, django_assert_num_queries: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(members, "AT_ONCE", 10)
    for number in range(25):
        enter(f"c{number}", client_id=f"c{number // 2}")
    with django_assert_num_queries(1 + 2):
        found = [row[0] for row in here(alice)]
    assert found == [f"c{number}" for number in range(13)]


# --- with Redis ---


class Answers:
    """What Redis says; which places and processes it was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, settings: Any, told: live.Told) -> None:
        self.asked: list[Any] = []
        self.told = told
        settings.REDIS_URL = "redis://somewhere"
        monkeypatch.setattr(live, "reader", lambda url: self)

    def read(self, *asked: Any) -> live.Told:
        self.asked.append(asked)
        return self.told


def test_the_later_of_redis_and_the_row_is_when_one_was_last_seen(
    enter: Enter, node: str, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    enter("1", age_s=50)
    enter("2", age_s=5)
    enter("3", age_s=5)
    rows = list(Presence.objects.select_related("account").order_by("pk"))
    before = [row.last_seen for row in rows]
    now = timezone.now().timestamp()
    told = live.Told({"1": now - 1, "2": now - 50}, {node})
    answers = Answers(monkeypatch, settings, told)
    assert last_seen.refresh(rows) == set()
    assert rows[0].last_seen.timestamp() == pytest.approx(now - 1, abs=0.001)
    assert [row.last_seen for row in rows[1:]] == before[1:]
    place = addresses.place("default", "aether", "aether:g")
    assert answers.asked == [({place: ["1", "2", "3"]}, {node: addresses.node(node)})]


def test_with_redis_nobody_is_idle_unless_their_process_has_told_all(
    enter: Enter, node: str, alice: Principal, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """Redis away, or new and empty: the rows know the arrival only."""
    settings.PRESENCE_TTL_S = 60
    enter("1", age_s=100)
    answers = Answers(monkeypatch, settings, live.Told())
    assert len(here(alice)) == 1
    answers.told = live.Told(nodes={node})
    assert here(alice) == []
    answers.told = live.Told({"1": timezone.now().timestamp()}, {node})
    assert len(here(alice)) == 1


# --- the index ---


def test_whose_a_client_id_is_is_found_by_an_index(
    enter: Enter, alice: Principal, settings: Any
) -> None:
    enter("1")
    if database.vendor == "postgresql":  # so few rows are quicker read without
        with database.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
    asked = group_presence._rows("default", "c")
    assert "presence_client" in asked.explain()
