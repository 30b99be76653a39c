"""F-02, F-03, F-04: whatever is killed, nothing accepted is lost and nothing is recorded twice."""

from __future__ import annotations

import asyncio

import pytest

from tests.chaos.checker import check
from tests.chaos.fleet import Caller, Dispatcher, FaultyServe, count, ended

pytestmark = [pytest.mark.live, pytest.mark.chaos, pytest.mark.timeout(count(120, 900))]

QUICK = {"COMMAND_LEASE_S": "1", "NODE_LEASE_S": "2"}
NAMES = [f"edge_{number}" for number in range(5)]


@pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
async def test_f02_everything_killed_while_commands_are_accepted(serve, agents, database):
    server = serve(database=database, **QUICK)
    crowd = agents(NAMES, server)
    caller = Caller([server.url], NAMES)
    kills, in_all = count(1, 10), count(40, 2000)
    work = asyncio.create_task(caller.send(in_all))
    for kill in range(kills):
        while len(caller.accepted) < in_all * (kill + 1) // (kills + 2):
            assert not work.done()
            await asyncio.sleep(0.005)
        await asyncio.to_thread(server.restart)
    made = await work
    await ended(server.environ["DATABASE_URL"])
    books = check(server.environ["DATABASE_URL"], made, crowd.lines())
    assert len(books.commands) == in_all, "one for each key"


@pytest.mark.postgres
async def test_f03_a_process_killed_between_its_mark_and_the_write(serve, agents):
    """A dispatcher after its lease, a gateway after its mark: both before anyone has heard."""
    rest = serve("--no-dispatcher", database="postgres", **QUICK)
    gateway = serve("--no-dispatcher", program=FaultyServe, beside=rest, FAULT="marked:1:SIGKILL")
    dispatcher = serve(program=Dispatcher, beside=rest, FAULT="claimed:2:SIGKILL")
    crowd = agents(NAMES[:2], gateway)
    caller = Caller([rest.url], NAMES[:2])
    kills = {gateway: 0, dispatcher: 0}
    while kills[gateway] < count(1, 50) or kills[dispatcher] < count(1, 25):
        await caller.send(2)
        dead = [process for process in kills if not process.alive]
        for process in dead:
            kills[process] += 1
        await asyncio.gather(*[asyncio.to_thread(process.start) for process in dead])
        await asyncio.sleep(0.1)
    for process in kills:
        process.kill()
        process.environ["FAULT"] = ""
        await asyncio.to_thread(process.start)
    url = rest.environ["DATABASE_URL"]
    await ended(url)
    books = check(url, caller.accepted.values(), crowd.lines())
    kinds = {kind for _, kind, _, _, _ in books.events}
    assert "lease_lapsed" in kinds or max(row.attempts for row in books.commands.values()) > 1


@pytest.fixture(scope="module")
def one_server(serve_for_module):
    return serve_for_module(database="sqlite", **QUICK)


@pytest.mark.parametrize("moment", ["seen", "acked"])
async def test_f04_an_agent_killed_before_or_after_its_acknowledgement(one_server, agents, moment):
    server, name = one_server, f"edge_{moment}"
    rounds, at_once = count(1, 25), count(6, 20)
    crowd = agents([name], server, die=f"{moment}:{at_once - 2}")
    caller = Caller([server.url], [name])
    kills = 0
    for _ in range(rounds):
        made = await caller.send(at_once, at_once=1)
        while not {made[-1]} <= {line.command for line in crowd.lines("acked")}:
            if not crowd.alive:
                kills += 1
                await asyncio.to_thread(crowd.start)
            await asyncio.sleep(0.02)
    if not crowd.alive:
        await asyncio.to_thread(crowd.start)
    await ended(server.environ["DATABASE_URL"])
    assert kills >= rounds // 2
    books = check(server.environ["DATABASE_URL"], caller.accepted.values(), crowd.lines())
    mine = [row for row in books.commands.values() if row.agent == name]
    assert len(mine) == rounds * at_once
    assert {row.status for row in mine} == {"completed"}
    again = [row for row in mine if row.attempts > 1]
    assert again or moment == "acked", "what nobody acknowledged came once more"
