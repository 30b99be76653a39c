"""Hubs on a real Redis: each is a process, with lines of its own."""

from __future__ import annotations

import contextlib

import pytest
from redis import Redis as Client

from realtime.bus.history import history_of, streams, wire
from realtime.bus.history.keeping import Bounds
from realtime.bus.hub import Hub
from realtime.bus.layer import PubSubLayer
from realtime.core import addresses


async def a_hub(url, **bounds):
    layer = PubSubLayer(hosts=[url])
    hub = Hub(layer, history_of(Bounds(**bounds), url, layer))
    await hub.start()
    return hub


def returns(*hubs):
    """What is true when the bus has come back to each of `hubs` and brings everything again."""
    told = [[] for _ in hubs]
    for hub, heard in zip(hubs, told, strict=True):
        hub.join_here(addresses.everyone(addresses.SYSTEM), heard.append)
    return lambda: all(told) and all(hub.connected and hub.history.up for hub in hubs)


@pytest.fixture
def quick(monkeypatch):
    """The same patience in shorter ticks, not so short that a busy machine misses all of them."""
    for module in (wire, streams):
        monkeypatch.setattr(module, "TICK_S", 0.25)


@pytest.fixture
async def fleet(redis_service):
    """`await fleet(**bounds)`: a new process."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**bounds):
            hub = await a_hub(redis_service.url, **bounds)
            stack.push_async_callback(hub.stop)
            return hub

        yield start


@pytest.fixture
def redis(redis_service):
    with Client.from_url(redis_service.url) as client:
        yield client
