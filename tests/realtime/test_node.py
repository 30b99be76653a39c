"""A process of the fleet: it starts, hears, keeps presence true, and can be started again."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
from django.db import transaction

from accounts.models import Account
from accounts.services import credentials
from realtime import node as nodes
from realtime.bus.announce import announce
from realtime.core import addresses, events
from realtime.core.credentials import ConnectToken
from realtime.core.errors import Revoked
from realtime.core.events import Event
from realtime.models import Announcement, Node
from realtime.neighbours import Arrival
from realtime.threads import in_thread
from sessions_app.models import Presence
from sessions_app.services import nodes as leases
from sessions_app.services import presence
from tests.doubles import until

pytestmark = pytest.mark.django_db(transaction=True)

TEAM = addresses.group("r", "team")


@pytest.fixture
async def node(settings, monkeypatch):
    """It does nothing by itself that a test does with it, however long that takes."""
    settings.REDIS_URL, settings.NODE_LEASE_S = "", 3600
    monkeypatch.setattr(nodes, "QUEUES_S", 3600.0)
    await in_thread(Account.default)
    node = await nodes.ensure_started()
    yield node
    await nodes.stop()


@pytest.fixture
async def alice(node, settings):
    token = ConnectToken(token=settings.GATEWAY_TOKEN, user_id="alice")
    return await in_thread(credentials.connect, credential=token)


def arrival(alice, connection):
    return Arrival(connection, alice, "goclaw", "goclaw", "", "192.0.2.1")


async def rows():
    return await in_thread(lambda: set(Presence.objects.values_list("pk", flat=True)))


async def test_it_is_started_once_and_leaves_nothing_behind(node):
    assert await nodes.ensure_started() is node
    assert await in_thread(Node.objects.count) == 1
    await nodes.stop()
    assert await in_thread(Node.objects.count) == 0


async def test_it_stops_though_one_of_its_tasks_has_lost_a_cancellation(node, monkeypatch):
    monkeypatch.setattr(nodes, "CANCEL_S", 0.01)
    began, lost = asyncio.Event(), asyncio.Event()

    async def deaf():
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost.set()
        await asyncio.Event().wait()

    node._tasks.append(asyncio.create_task(deaf()))
    async with asyncio.timeout(30):
        await began.wait()
        await nodes.stop()
    assert lost.is_set()


async def test_a_stop_that_comes_with_a_hint_is_a_stop(node):
    heard = []
    await node.hub.join(TEAM, heard.append)
    await in_thread(announce, TEAM, Event("news"))
    await until(lambda: heard and not node._hinted.is_set())  # it waits for the next one
    node._hinted.set()
    async with asyncio.timeout(30):
        await nodes.stop()


async def test_a_start_that_failed_is_tried_again(settings, monkeypatch):
    settings.REDIS_URL = ""

    def away(now_s):
        raise ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr("realtime.bus.follow.newest", away)
        with pytest.raises(ConnectionError):
            await nodes.ensure_started()
    assert nodes.current() is None
    assert await nodes.ensure_started()
    await nodes.stop()


async def test_what_is_committed_is_heard_once(node):
    heard = []
    await node.hub.join(TEAM, heard.append)
    number = await in_thread(announce, TEAM, Event("fact"))
    await asyncio.wait_for(node.hear(number), 30)
    assert [event.name for event in heard] == ["fact"]


async def test_chunks_stay_between_the_start_and_the_end_however_late_one_reads(node):
    """Start and end are read together: what is held for the start comes before the end."""
    heard, loop = [], asyncio.get_running_loop()
    await node.hub.join(TEAM, heard.append)

    def quick_run():
        with transaction.atomic():
            started = announce(TEAM, Event("started"))
            chunk = Event("chunk", after=started)
            loop.call_soon_threadsafe(node.hub.publish, [TEAM], chunk)
            return announce(TEAM, Event("ended"))

    await in_thread(quick_run)
    await until(lambda: len(heard) == 3)
    assert [event.name for event in heard] == ["started", "chunk", "ended"]


async def test_a_reader_that_fails_goes_on_where_it_was(node, monkeypatch):
    heard, failed = [], asyncio.Event()
    await node.hub.join(TEAM, heard.append)
    loop = asyncio.get_running_loop()

    def away(high, gaps, hears):
        loop.call_soon_threadsafe(failed.set)
        raise ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr("realtime.bus.follow.unheard", away)
        await in_thread(announce, TEAM, Event("early"))
        await asyncio.wait_for(failed.wait(), 30)
    await in_thread(announce, TEAM, Event("late"))
    await until(lambda: len(heard) == 2)
    assert [event.name for event in heard] == ["early", "late"]


async def test_who_is_revoked_on_arrival_is_not_present(node, alice, monkeypatch):
    def revoked(principal):
        raise Revoked

    monkeypatch.setattr("realtime.dispatch.credentials.check", revoked)
    with pytest.raises(Revoked):
        await node.services.arrive(arrival(alice, "c1"))
    assert node.services.present == {}
    assert await rows() == set()


async def test_who_stays_after_a_failed_change_of_identity_stays_present(node, alice, monkeypatch):
    await node.services.arrive(arrival(alice, "c1"))
    with monkeypatch.context() as broken:
        broken.setattr("realtime.dispatch.credentials.check", lambda principal: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await node.services.arrive(arrival(alice, "c1"))
    await node.services.reconcile()
    assert await rows() == {"c1"}


async def test_presence_that_others_swept_is_written_again(node, alice):
    await node.services.arrive(arrival(alice, "c1"))
    await in_thread(lambda: Presence.objects.all().delete())
    await node.services.reconcile()
    assert await rows() == {"c1"}


async def test_presence_of_who_left_without_the_database_is_deleted(node, alice, monkeypatch):
    await node.services.arrive(arrival(alice, "c1"))
    with monkeypatch.context() as broken:
        broken.setattr("realtime.dispatch.presence.depart", lambda connection: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await node.services.depart("c1")
    assert await rows() == {"c1"}
    await node.services.reconcile()
    assert await rows() == set()


async def test_a_lapsed_lease_is_renewed_with_all_that_was_swept(node, alice):
    await node.services.arrive(arrival(alice, "c1"))
    await in_thread(lambda: (Presence.objects.all().delete(), Node.objects.all().delete()))
    await node._renew()
    assert await rows() == {"c1"}
    assert await in_thread(Node.objects.count) == 1


# --- whose client id is another's by now ---


def member(principal, connection, client_id="desk"):
    return Arrival(connection, principal, "aether", "aether:team", client_id, "192.0.2.1")


async def swept(node, who, *, rows_too=True, group="team"):
    """This process was silent: its lease and its rows are gone; `who` came elsewhere, as desk."""

    def elsewhere():
        if rows_too:
            Presence.objects.all().delete()
        Node.objects.all().delete()
        leases.renew(node="elsewhere", host="there", pid=1, lease_s=60)
        presence.arrive(
            principal=who,
            connection=f"of {who.id}",
            node="elsewhere",
            protocol="aether",
            place=f"aether:{group}",
            client_id="desk",
        )

    await in_thread(elsewhere)
    await node._renew()


def told():
    """What groups have been told of coming and going."""
    said = [fact for row in Announcement.objects.order_by("id") for fact in row.said]
    told = [event.data["message"] for _, some in said for event in some if "message" in event.data]
    return [(one["from_id"], one["payload"]["status"]) for one in told]


@pytest.fixture
async def ended(node):
    """The connections that were told to end, and why."""
    heard = []
    for name in ("c1", "c2"):
        handle = addresses.connection(name)
        node.hub.join_here(handle, lambda event, name=name: heard.append((name, event)))
    return heard


async def test_who_comes_back_too_late_does_not_take_anothers_client_id(
    node, alice, ended, settings
):
    settings.AETHER_ANNOUNCE_PRESENCE = True
    await node.services.arrive(member(alice, "c1"))
    await node.services.arrive(member(alice, "c2", "phone"))
    bob = replace(alice, id="bob")
    await swept(node, bob)
    assert await rows() == {"of bob", "c2"}
    reason = "this client id is in use by somebody else"
    assert ended == [("c1", Event(events.DISCONNECT, {"reason": reason}))]
    assert list(node.services.present) == ["c2"]
    assert await in_thread(told) == [("desk", "online"), ("phone", "online"), ("phone", "online")]
    await node.services.depart("c1")  # its socket has closed
    await node.services.reconcile()
    assert await rows() == {"of bob", "c2"}
    assert await in_thread(lambda: len(told())) == 3, "nobody is told that desk has gone: it is bob"


async def test_a_row_that_nobody_swept_is_no_claim_either(node, alice, ended, settings):
    settings.AETHER_ANNOUNCE_PRESENCE = True
    await node.services.arrive(member(alice, "c1"))
    await node.services.arrive(member(alice, "c2", "phone"))
    bob = replace(alice, id="bob")
    await swept(node, bob, rows_too=False, group="another group")
    assert await rows() == {"of bob", "c2"}
    assert [(name, event.name) for name, event in ended] == [("c1", events.DISCONNECT)]
    assert list(node.services.present) == ["c2"]
    assert await in_thread(told) == [("desk", "online"), ("phone", "online"), ("desk", "offline")]


@pytest.mark.parametrize("rows_too", [True, False])
async def test_who_comes_back_is_present_beside_their_own_other_tab(node, alice, ended, rows_too):
    await node.services.arrive(member(alice, "c1"))
    await swept(node, alice, rows_too=rows_too)
    assert await rows() == {f"of {alice.id}", "c1"}
    assert ended == []


async def test_who_is_at_the_door_is_not_let_in_by_the_way(node, alice, monkeypatch):
    """A row that is not there yet has not been swept."""
    entered, go = threading.Event(), threading.Event()

    def slow(principal):
        entered.set()
        go.wait(5)
        raise Revoked

    monkeypatch.setattr("realtime.dispatch.credentials.check", slow)
    arriving = asyncio.create_task(node.services.arrive(member(alice, "c1")))
    await until(entered.is_set)
    await node.services.reconcile()
    assert await rows() == set()
    go.set()
    with pytest.raises(Revoked):
        await arriving


async def test_a_hint_is_not_told_to_connections(node):
    heard = []
    await node.hub.join(addresses.everyone(addresses.SYSTEM), heard.append)
    await asyncio.wait_for(node.hear(await in_thread(announce, TEAM, Event("x"))), 30)
    assert heard == []


# --- what the open admin pages are told ---


@pytest.fixture
async def pages(node):
    """The hints that the pages of `default`, of `other` and of superusers get."""
    heard = {"default": [], "other": [], "every": []}
    await node.hub.join(addresses.pages("default"), heard["default"].append)
    await node.hub.join(addresses.pages("other"), heard["other"].append)
    await node.hub.join(addresses.every_page(), heard["every"].append)
    return heard


async def test_the_pages_are_told_after_the_row_is_there_and_nobody_elses(node, alice, pages):
    await node.services.arrive(arrival(alice, "c1"))
    await until(lambda: pages["default"] and pages["every"])
    assert await rows() == {"c1"}
    hint = Event(events.CHANGED, {"what": "connections"})
    assert pages == {"default": [hint], "other": [], "every": [hint]}


async def test_what_waits_for_a_peer_is_written_once_and_shown(node, alice, pages):
    await node.services.arrive(arrival(alice, "c1"))
    await until(lambda: pages["default"])
    node.connections["c1"] = SimpleNamespace(id="c1", queued_bytes=70_000, last_seen=0)

    def waiting():
        return Presence.objects.get().queued_bytes

    await node._tell_queues()
    assert await in_thread(waiting) == 70_000
    await until(lambda: len(pages["default"]) == 2)
    await in_thread(lambda: Presence.objects.update(queued_bytes=1))
    await node._tell_queues()
    assert await in_thread(waiting) == 1, "unchanged: not written again"
    node.connections["c1"].queued_bytes = 0
    await node._tell_queues()
    assert await in_thread(waiting) == 0
    node.connections.clear()


async def test_what_waited_at_the_door_is_shown_once_the_peer_is_in(node, alice):
    node.connections["c1"] = SimpleNamespace(id="c1", queued_bytes=5, last_seen=0)
    await node._tell_queues()
    await node.services.arrive(arrival(alice, "c1"))
    await node._tell_queues()
    assert await in_thread(lambda: Presence.objects.get().queued_bytes) == 5
    node.connections.clear()


async def test_the_connections_of_a_dead_process_vanish_from_the_pages(node, alice, pages):
    def left_behind():
        presence.arrive(principal=alice, connection="c9", node="dead", protocol="goclaw")

    await in_thread(left_behind)
    await node._renew()
    await until(lambda: pages["default"] and pages["every"])
    assert await rows() == set()
    assert pages["other"] == []
