"""Two processes and a Redis that loses things, against a book that loses nothing."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis as Client

from realtime.bus.history import commands, history_of
from realtime.bus.history.keeping import Bounds
from realtime.bus.hub import Hub
from realtime.bus.layer import PubSubLayer
from realtime.core import addresses
from realtime.core.events import Event
from realtime.core.history import AWAY, Position, Recovered

pytestmark = pytest.mark.redis

TEAM = addresses.topic("nexus:a", "team")
SIZE = 5

step = st.one_of(
    st.tuples(st.just("say"), st.booleans(), st.integers(1, 7)),
    st.tuples(st.just("recover"), st.booleans(), st.integers(-1, 12)),
    st.tuples(st.just("lose"), st.sampled_from(["known", "said", "reign", "all"]), st.just(0)),
    st.tuples(st.just("cut off"), st.booleans(), st.just(0)),
    st.tuples(st.just("begin anew"), st.booleans(), st.just(0)),
)


class Book:
    """Every message that was numbered, by epoch; `last`: where the address is, if it must be."""

    def __init__(self):
        self.said = {}
        self.last = None
        self.number = 0
        self.lost = 0  # of the present epoch, what Redis may have lost or has not kept
        self.asked = set()  # the epochs in which somebody has

    def lose(self):
        if self.last is not None:
            self.lost = self.last.offset
        self.last = None

    def add(self, position, text):
        if position is None:  # said without a number: a new epoch is due
            self.lose()
            return
        epoch = self.said.setdefault(position.epoch, [])
        epoch.append(text)
        assert position.offset == len(epoch), "no number is missing, and none is given out twice"
        if self.last is not None:
            assert position == (self.last.epoch, self.last.offset + 1)
        if position.offset == 1:
            self.lost = 0
        if position.epoch not in self.asked:
            self.lost = position.offset
        self.last = position

    def check(self, after, outcome):
        epoch = self.said.get(after.epoch, [])
        self.asked.add(outcome.position and outcome.position.epoch)
        if isinstance(outcome, Recovered):
            assert [event.data["text"] for event in outcome.events] == epoch[after.offset :]
            offsets = [event.position.offset for event in outcome.events]
            assert offsets == list(range(after.offset + 1, len(epoch) + 1))
            assert outcome.position == (after.epoch, len(epoch))
        elif outcome.reason != AWAY and self.last is not None and after.epoch == self.last.epoch:
            missed = len(epoch) - after.offset
            assert missed > SIZE or missed < 0 or after.offset < self.lost, outcome


async def a_hub(url):
    layer = PubSubLayer(hosts=[url])
    hub = Hub(layer, history_of(Bounds(size=SIZE), url, layer))
    await hub.start()
    return hub


async def play(url, redis, steps):
    redis.flushall()
    book, hubs = Book(), [await a_hub(url), await a_hub(url)]
    known, said = commands.keys_of(TEAM)
    try:
        for what, which, count in steps:
            if what == "say":
                for _ in range(count):
                    book.number += 1
                    text = str(book.number)
                    position = await hubs[which].append(TEAM, Event("said", {"text": text}))
                    book.add(position, text)
            elif what == "recover":
                epoch = book.last.epoch if book.last else next(iter(book.said), "f" * 16)
                after = Position(epoch, max(0, len(book.said.get(epoch, [])) - count))
                book.check(after, await hubs[which].since(TEAM, after))
            elif what == "lose":
                keys = {"known": [known], "said": [said], "reign": [commands.REIGN_KEY]}
                redis.delete(*keys[which]) if which in keys else redis.flushall()
                book.lose()
            elif what == "cut off":
                redis.client_kill_filter(_id=hubs[which].history._wire._client)
            else:
                await hubs[which].stop()
                hubs[which] = await a_hub(url)
    finally:
        for hub in hubs:
            await hub.stop()


@given(steps=st.lists(step, min_size=3, max_size=25))
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_who_recovers_gets_everything_or_a_gap(redis_service, steps):
    with Client.from_url(redis_service.url) as redis:
        asyncio.run(play(redis_service.url, redis, steps))
