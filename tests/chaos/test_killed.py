"""F-02, F-03, F-04: whatever is killed, nothing accepted is lost and nothing is recorded twice."""

from __future__ import annotations

import asyncio
import functools

import pytest

from tests.chaos.checker import check
from tests.chaos.fleet import Caller, FaultyDispatcher, FaultyServe, at_once, count, ended

pytestmark = [pytest.mark.live, pytest.mark.chaos, pytest.mark.timeout(count(120, 900))]

QUICK = {"COMMAND_LEASE_S": "2", "NODE_LEASE_S": "4"}
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
    # With many kills, some writes between them: what is marked five times in vain is given up.
    fault = f"marked:{count(1, 4)}:SIGKILL"
    faulty = functools.partial(serve, program=FaultyServe, beside=rest, FAULT=fault)
    claiming = functools.partial(
        serve, program=FaultyDispatcher, beside=rest, FAULT="claimed:2:SIGKILL"
    )
    gateway, dispatcher = await at_once(functools.partial(faulty, "--no-dispatcher"), claiming)
    crowd = agents(NAMES[:2], gateway)
    caller = Caller([rest.url], NAMES[:2])
    to_die = {gateway: count(1, 50), dispatcher: count(1, 25)}
    while any(to_die.values()):
        await caller.send(2)
        dead = [process for process in to_die if not process.alive]
        for process in dead:
            assert to_die[process], process.log()
            to_die[process] -= 1
            if not to_die[process]:
                process.environ["FAULT"] = ""
        await at_once(*[process.start for process in dead])
        await asyncio.sleep(0.1)
    url = rest.environ["DATABASE_URL"]
    await ended(url)
    books = check(url, caller.accepted.values(), crowd.lines())
    kinds = {kind for _, kind, _, _, _ in books.events}
    assert "lease_lapsed" in kinds or max(row.attempts for row in books.commands.values()) > 1
    assert {row.status for row in books.commands.values()} == {"completed"}


@pytest.fixture(scope="module")
def one_server(serve_for_module):
    return serve_for_module(database="sqlite", **QUICK)


@pytest.mark.parametrize("moment", ["seen", "acked"])
async def test_f04_an_agent_killed_before_or_after_its_acknowledgement(one_server, agents, moment):
    server, name = one_server, f"edge_{moment}"
    rounds, each = count(1, 25), count(6, 20)
    crowd = agents([name], server, die=f"{moment}:{each - 2}")
    caller = Caller([server.url], [name])
    kills = 0
    for _ in range(rounds):
        made = await caller.send(each, at_once=1)
        while not {made[-1]} <= {line.command for line in crowd.lines("acked")}:
            if not crowd.alive:
                kills += 1
                await asyncio.to_thread(crowd.start)
            await asyncio.sleep(0.02)

    def revive() -> None:
        """It dies anew when enough comes to it once more."""
        if not crowd.alive:
            crowd.start()

    await ended(server.environ["DATABASE_URL"], meanwhile=revive)
    assert kills >= rounds // 2
    books = check(server.environ["DATABASE_URL"], caller.accepted.values(), crowd.lines())
    mine = [row for row in books.commands.values() if row.agent == name]
    assert len(mine) == rounds * each
    assert {row.status for row in mine} == {"completed"}
    again = [row for row in mine if row.attempts > 1]
    assert again or moment == "acked", "what nobody acknowledged came once more"
