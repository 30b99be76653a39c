from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from realtime.bus.hub import Hub
from realtime.bus.line import DEAF_S
from realtime.core import addresses
from realtime.core.events import RESYNC, Event
from tests.doubles import until

TEAM, OTHER = addresses.group("r", "team"), addresses.group("r", "other")


class Exchange:
    """A channel layer's other end: what several `FakeLayer`s share, and a switch to break it."""

    def __init__(self):
        self.groups = {}
        self.down = False
        self.published = []

    def layer(self):
        return FakeLayer(self)


class FakeLayer:
    on_resubscribe = None
    dropped = False

    def __init__(self, exchange):
        self.exchange = exchange
        self.queues = {}

    def check(self):
        if self.exchange.down:
            raise RedisConnectionError("down")

    async def new_channel(self, prefix=""):
        self.check()
        name = f"{prefix}{id(self)}"
        self.queues[name] = asyncio.Queue()
        return name

    async def group_add(self, group, channel):
        self.check()
        self.exchange.groups.setdefault(group, {})[channel] = self.queues[channel]

    async def group_discard(self, group, channel):
        self.check()
        self.exchange.groups.get(group, {}).pop(channel, None)

    async def group_send(self, group, message):
        self.check()
        self.exchange.published.append((group, message))
        for queue in self.exchange.groups.get(group, {}).values():
            queue.put_nowait(message)

    async def receive(self, channel):
        return await self.queues[channel].get()

    async def flush(self):
        self.check()

    async def drop_subscription(self):
        self.check()
        self.dropped = True


@pytest.fixture
def exchange():
    return Exchange()


@pytest.fixture
async def hubs(exchange):
    """Two processes' hubs on one layer."""
    both = Hub(exchange.layer()), Hub(exchange.layer())
    for hub in both:
        await hub.start()
    yield both
    for hub in both:
        await hub.stop()


async def test_members_hear_what_is_published_to_their_address_only():
    hub, heard = Hub(), []
    await hub.join(TEAM, heard.append)
    hub.publish([TEAM], Event("a"))
    hub.publish([OTHER], Event("b"))
    await hub.leave(TEAM, heard.append)
    hub.publish([TEAM], Event("c"))
    assert [event.name for event in heard] == ["a"]


async def test_a_member_of_two_addresses_hears_an_event_for_both_once():
    hub, heard = Hub(), []
    await hub.join(TEAM, heard.append)
    await hub.join(OTHER, heard.append)
    hub.publish([TEAM, OTHER], Event("a"))
    assert len(heard) == 1


async def test_one_bad_member_does_not_keep_the_event_from_the_others():
    hub, heard = Hub(), []

    def bad(event):
        raise ZeroDivisionError

    await hub.join(TEAM, bad)
    await hub.join(TEAM, heard.append)
    hub.publish([TEAM], Event("a"))
    assert len(heard) == 1


async def test_an_event_waits_for_the_announcement_it_follows_and_keeps_its_order():
    hub, heard, known = Hub(), [], set()
    hub.heard = known.__contains__
    await hub.join(TEAM, heard.append)
    hub.publish([TEAM], Event("chunk 1", after=7))
    hub.publish([TEAM], Event("chunk 2", after=7))
    assert heard == []
    hub.deliver([TEAM], Event("run.started"))
    known.add(7)
    hub.release()
    assert [event.name for event in heard] == ["run.started", "chunk 1", "chunk 2"]
    assert hub.waiting == 0


async def test_what_is_overdue_is_delivered_all_the_same(monkeypatch):
    hub, heard = Hub(), []
    hub.heard = lambda announcement: False
    await hub.join(TEAM, heard.append)
    hub.publish([TEAM], Event("chunk", after=7))
    hub.release()
    assert heard == []
    monkeypatch.setattr("realtime.bus.hub.HOLD_S", -1.0)
    hub.release()
    assert [event.name for event in heard] == ["chunk"]


async def test_every_process_hears_once_and_the_publisher_at_once(hubs):
    here, there = hubs
    heard_here, heard_there = [], []
    await here.join(TEAM, heard_here.append)
    await there.join(TEAM, heard_there.append)
    await there.join(OTHER, heard_there.append)
    here.publish([TEAM, OTHER], Event("a", {"n": 1}))
    assert [event.data for event in heard_here] == [{"n": 1}]
    here.publish([TEAM], Event("last"))
    await until(lambda: "last" in [event.name for event in heard_there])
    assert [event.name for event in heard_there] == ["a", "last"]
    assert len(heard_here) == 2


async def test_many_members_of_an_address_are_one_subscription(hubs, exchange):
    here, _ = hubs
    members = [[].append for _ in range(5)]
    for member in members:
        await here.join(TEAM, member)
    assert len(exchange.groups[TEAM.group()]) == 1
    for member in members[1:]:
        await here.leave(TEAM, member)
    assert len(exchange.groups[TEAM.group()]) == 1
    await here.leave(TEAM, members[0])
    assert exchange.groups[TEAM.group()] == {}


async def test_addresses_of_this_process_only_are_not_subscribed(hubs, exchange):
    hubs[0].join_here(TEAM, [].append)
    assert TEAM.group() not in exchange.groups


async def test_a_lost_bus_leaves_this_process_served_and_is_followed_by_a_resync(hubs, exchange):
    here, there = hubs
    heard_here, heard_there, resyncs = [], [], []
    await here.join(TEAM, heard_here.append)
    await there.join(TEAM, heard_there.append)
    await there.join(addresses.everyone("system"), resyncs.append)
    exchange.down = True
    here.publish([TEAM], Event("lost"))
    assert [event.name for event in heard_here] == ["lost"]
    await until(lambda: not here.connected)
    exchange.down = False
    await until(lambda: here.connected)
    here.publish([TEAM], Event("found"))
    await until(lambda: heard_there)
    assert [event.name for event in heard_there] == ["found"]
    assert [event.name for event in resyncs] == [RESYNC]


async def test_what_was_joined_while_the_bus_was_away_is_subscribed_later(hubs, exchange):
    here, there = hubs
    heard, resyncs = [], []
    await here.join(addresses.everyone("system"), resyncs.append)
    exchange.down = True
    there.publish([OTHER], Event("notice the loss"))
    here.publish([OTHER], Event("notice the loss"))
    await until(lambda: not here.connected and not there.connected)
    await here.join(TEAM, heard.append)
    exchange.down = False
    await until(lambda: here.connected and there.connected)
    there.publish([TEAM], Event("a"))
    await until(lambda: heard)
    assert [event.name for event in resyncs][0] == RESYNC, "something may have been missed"


async def test_a_hub_starts_without_its_bus_and_finds_it_later(exchange):
    exchange.down = True
    hub, resyncs = Hub(exchange.layer()), []
    await hub.start()
    await hub.join(addresses.everyone("system"), resyncs.append)
    assert not hub.connected
    exchange.down = False
    await until(lambda: hub.connected)
    assert [event.name for event in resyncs] == [RESYNC], "what others said before is missing"
    await hub.stop()


async def test_an_address_joined_while_the_bus_comes_back_is_subscribed(hubs, exchange):
    here, there = hubs
    heard = []
    exchange.down = True
    here.publish([OTHER], Event("notice the loss"))
    await until(lambda: not here.connected)
    joined = []

    async def join_late(group, channel):
        if not joined:
            joined.append(1)
            asyncio.get_running_loop().create_task(here.join(TEAM, heard.append))
            await asyncio.sleep(0)
        exchange.groups.setdefault(group, {})[channel] = here._line._layer.queues[channel]

    here._line._layer.group_add = join_late
    await here.join(OTHER, [].append)
    exchange.down = False
    await until(lambda: here.connected and joined)
    there.publish([TEAM], Event("a"))
    await until(lambda: heard)


async def test_an_address_left_while_the_bus_was_away_is_not_subscribed_any_more(hubs, exchange):
    here, _ = hubs
    member = [].append
    await here.join(TEAM, member)
    exchange.down = True
    here.publish([OTHER], Event("notice the loss"))
    await until(lambda: not here.connected)
    await here.leave(TEAM, member)
    exchange.down = False
    await until(lambda: here.connected)
    assert exchange.groups[TEAM.group()] == {}


async def test_who_comes_back_to_an_address_that_was_left_as_the_bus_went_is_subscribed_again(
    hubs, exchange, monkeypatch
):
    here, there = hubs
    heard = []
    await here.join(TEAM, heard.append)
    discard = FakeLayer.group_discard

    async def torn(layer, group, channel):
        await discard(layer, group, channel)
        exchange.down = True
        layer.check()

    monkeypatch.setattr(FakeLayer, "group_discard", torn)
    await here.leave(TEAM, heard.append)
    await here.join(TEAM, heard.append)
    exchange.down = False
    await until(lambda: here.connected and there.connected)
    there.publish([TEAM], Event("a"))
    await until(lambda: heard)


async def test_a_member_of_a_place_that_was_local_is_subscribed_when_it_joins(hubs):
    here, there = hubs
    heard = []
    here.join_here(TEAM, [].append)
    await here.join(TEAM, heard.append)
    there.publish([TEAM], Event("a"))
    await until(lambda: heard)


async def test_an_event_that_cannot_be_sent_does_not_end_the_sender(hubs, exchange):
    here, there = hubs
    heard = []
    await there.join(TEAM, heard.append)
    send, here._line._layer.group_send = here._line._layer.group_send, None
    here.publish([TEAM], Event("cannot be packed"))
    await until(lambda: not here._line._outgoing)
    here._line._layer.group_send = send
    here.publish([TEAM], Event("a"))
    await until(lambda: heard)


class Clock:
    """Stands for the module `time` of a line."""

    now_s = 1000.0

    def monotonic(self):
        return self.now_s


async def test_a_line_that_fell_silent_is_noticed_and_made_anew(exchange, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("realtime.bus.line.time", clock)
    monkeypatch.setattr("realtime.bus.line.PROBE_S", 0.02)
    layer = exchange.layer()
    hub = Hub(layer)
    await hub.start()
    for _ in range(4):  # together longer than it may be deaf: it hears itself
        clock.now_s += DEAF_S / 3
        await until(lambda: hub._line._echoed == clock.now_s)
    assert hub.connected
    assert not layer.dropped
    exchange.groups.clear()  # nothing arrives any more, and nothing fails

    def noticed():
        clock.now_s += DEAF_S / 3
        return layer.dropped

    await until(noticed)
    assert not hub.connected
    await hub.stop()


async def test_nonsense_on_the_bus_is_dropped_and_the_receiver_lives(hubs, exchange):
    here, there = hubs
    heard = []
    await there.join(TEAM, heard.append)
    layer = exchange.layer()
    for nonsense in ({}, {"type": "hub.event"}, {"type": "websocket.close"}, {"type": 7}):
        await layer.group_send(TEAM.group(), nonsense)
    here.publish([TEAM], Event("a"))
    await until(lambda: heard)
    assert [event.name for event in heard] == ["a"]
