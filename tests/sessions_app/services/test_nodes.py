from __future__ import annotations

import pytest

from realtime.core.principal import Principal
from realtime.models import Node
from sessions_app.models import Presence
from sessions_app.services import nodes, presence


def renew(node: str = "n", lease_s: float = 60) -> bool:
    return nodes.renew(node=node, host="here", pid=1, lease_s=lease_s)


@pytest.mark.django_db
def test_a_lease_is_unbroken_once_it_has_begun() -> None:
    assert renew() is False
    assert renew() is True
    assert list(nodes.live()) == ["n"]
    assert (Node.objects.get().host, Node.objects.get().pid) == ("here", 1)


@pytest.mark.django_db
def test_a_lapsed_lease_is_told_and_begun_again() -> None:
    renew(lease_s=-1)
    assert not nodes.is_live("n")
    assert renew() is False
    assert nodes.is_live("n")


@pytest.mark.django_db
def test_a_lease_is_extended_from_now() -> None:
    renew(lease_s=60)
    before = Node.objects.get().lease_until
    renew(lease_s=120)
    assert 59 < (Node.objects.get().lease_until - before).total_seconds() < 70


@pytest.mark.django_db
def test_a_process_that_leaves_takes_its_presence_along(alice: Principal) -> None:
    renew("n")
    renew("m")
    for node in ("n", "m"):
        presence.arrive(principal=alice, connection=f"c-{node}", node=node, protocol="goclaw")
    nodes.leave(node="n")
    assert list(nodes.live()) == ["m"]
    assert list(Presence.objects.values_list("id", flat=True)) == ["c-m"]


@pytest.mark.django_db
def test_only_leases_that_lapsed_long_ago_are_forgotten() -> None:
    renew("live")
    renew("lapsed", lease_s=-60)
    renew("old", lease_s=-3601)
    assert nodes.sweep() == 1
    assert set(Node.objects.values_list("id", flat=True)) == {"live", "lapsed"}
