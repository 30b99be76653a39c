"""The dispatcher: woken by hints, by time, and right without any of them."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from accounts.models import Account
from realtime.bus.hub import Hub
from realtime.core import addresses
from realtime.core.events import DISPATCH, Event
from realtime.core.principal import Principal
from realtime.dispatcher import Dispatcher
from realtime.models import Announcement
from realtime.threads import in_thread
from sessions_app.models import ScheduledCommand
from sessions_app.services import claims
from tests.doubles import until
from tests.sessions_app.edge import Agent, keep_busy, now, queue

pytestmark = pytest.mark.django_db(transaction=True)

ALICE = Principal(id="alice", role="operator")
AGENT = addresses.agent("default", "edge_1")
NEVER_S = 3600.0


@pytest.fixture
async def agent(monkeypatch):
    keep_busy(monkeypatch)

    def connected():
        Account.default()
        agent = Agent()
        agent.connect()
        return agent

    return await in_thread(connected)


@pytest.fixture
async def run():
    """`await run(hub, **options)`: a dispatcher at work, whose first look at everything is over;
    ended with the test.
    """
    tasks = []

    async def start(hub, **options):
        dispatcher = Dispatcher(hub, name="d1", **options)
        dispatcher.start()
        looked = asyncio.Event()

        async def turn():
            while True:
                await dispatcher.wait()
                await dispatcher.work()
                looked.set()

        tasks.append(asyncio.create_task(turn()))
        await asyncio.wait_for(looked.wait(), 30)

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def listening(hub):
    heard = []
    hub.join_here(AGENT, heard.append)
    return heard


async def hint(hub, agent):
    row = await in_thread(lambda: agent.row)
    hub.deliver([addresses.dispatchers()], Event(DISPATCH, {"agent": row.pk}))


def in_(seconds):
    return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)


async def test_a_hint_leads_to_a_lease_and_word_to_the_agents_socket(agent, run):
    hub = Hub()
    heard = listening(hub)
    await run(hub, poll_s=NEVER_S)
    command = await in_thread(queue, ALICE)
    assert heard == []
    await hint(hub, agent)
    await until(lambda: heard)
    assert [event.name for event in heard] == ["edge.due"]
    row = await in_thread(now, command)
    assert (row.status, row.lease_owner) == ("leased", "d1")


async def test_without_any_hint_the_poll_finds_it(agent, run):
    hub = Hub()
    heard = listening(hub)
    await run(hub, poll_s=0.1)
    await in_thread(queue, ALICE)
    await until(lambda: heard)


async def test_a_command_is_claimed_when_it_is_due_and_not_at_the_next_poll(agent, run):
    hub = Hub()
    heard = listening(hub)
    await run(hub, poll_s=NEVER_S)
    command = await in_thread(queue, ALICE, deliver_at=in_(0.4))
    await hint(hub, agent)  # what every scheduling says; nothing is due yet
    await until(lambda: heard)
    assert dt.datetime.now(dt.UTC) >= command.deliver_at


async def test_what_was_due_before_it_started_is_claimed_at_once(agent, run):
    hub = Hub()
    heard = listening(hub)
    await in_thread(lambda: [queue(ALICE) for _ in range(3)])
    await run(hub, poll_s=NEVER_S)
    await until(lambda: heard)
    statuses = await in_thread(
        lambda: list(ScheduledCommand.objects.values_list("status", flat=True))
    )
    assert statuses == ["leased"] * 3


async def test_a_socket_that_did_not_hear_is_told_through_the_database(agent, run, monkeypatch):
    monkeypatch.setattr(claims, "UNTAKEN", dt.timedelta())
    await in_thread(queue, ALICE)
    await in_thread(claims.claim, dispatcher="dead")
    await run(Hub(), poll_s=0.05)
    await until_announced("edge.due")


async def test_with_the_bus_lost_the_word_goes_through_the_database(agent, run, monkeypatch):
    hub = Hub()
    monkeypatch.setattr(Hub, "connected", False)
    heard = listening(hub)
    await in_thread(queue, ALICE)
    await run(hub, poll_s=NEVER_S)
    await until_announced("edge.due")
    assert heard == []


async def test_what_is_over_is_ended_and_what_lapsed_returned(agent, run, settings):
    settings.COMMAND_LEASE_S = 1
    over = await in_thread(queue, ALICE, expires_at=in_(2))
    await run(Hub(), poll_s=0.05)

    async def became(status):
        async with asyncio.timeout(30):
            while (await in_thread(now, over)).status != status:
                await asyncio.sleep(0.01)

    await became("expired")
    lapsed = await in_thread(queue, ALICE)

    async with asyncio.timeout(30):
        while (await in_thread(now, lapsed)).leases < 2:
            await asyncio.sleep(0.01)


async def test_with_the_database_away_it_neither_dies_nor_spins(agent, monkeypatch):
    tries = 0

    def away():
        nonlocal tries
        tries += 1
        raise ConnectionError

    dispatcher = Dispatcher(Hub(), name="d1", poll_s=0.1)
    with monkeypatch.context() as broken:
        broken.setattr(claims, "expire", away)
        broken.setattr(claims, "claim", lambda **_: away())
        begin = asyncio.get_running_loop().time()
        while tries < 6:
            await dispatcher.wait()
            with pytest.raises(ConnectionError):
                await dispatcher.work()
        assert asyncio.get_running_loop().time() - begin > 0.35
    command = await in_thread(queue, ALICE)
    while (await in_thread(now, command)).status != "leased":
        await dispatcher.wait()
        await dispatcher.work()


async def until_announced(name):
    def announced():
        rows = Announcement.objects.all()
        return name in [event.name for row in rows for _, said in row.said for event in said]

    async with asyncio.timeout(30):
        while not await in_thread(announced):
            await asyncio.sleep(0.01)
