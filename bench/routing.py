"""`python -m bench.routing [--quick]`: 003 and 004 through Redis, one JSON object at the end.

What a delivery costs the gateways in CPU time (two processes, senders on one, receivers on the
other), what filters add to it, and the size of an idle socket. Rounds of what is compared are
interleaved, for machines drift; the medians are what counts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import resource
import statistics
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from bench.crowd import crowd, group_url, hear, hear_all, say, topics_url
from bench.edge import progress, resident
from bench.fleet import Fleet, cpu_s
from tests.services import Serve

FIELDS = [f"field_{number}" for number in range(10)]
DATA = dict.fromkeys(FIELDS, "as it should be")

Burst = Callable[[], Awaitable[int]]  # what it returns is how many deliveries it was


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it works")
    quick = parser.parse_args().quick
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with contextlib.ExitStack() as ends:
        fleet = Fleet.with_services(ends)
        servers = [fleet.serve(), fleet.serve()]
        figures = asyncio.run(measure(servers, quick=quick))
    figures |= asyncio.run(sizes(50 if quick else 2000))
    print(file=sys.stderr)
    print(json.dumps(figures, indent=1))


async def measure(servers: list[Serve], *, quick: bool) -> dict[str, Any]:
    """CPU microseconds of both gateways per delivery; for filters, how many times as much."""
    size, rounds, times = (20, 2, 5) if quick else (1000, 5, 20)
    here, there = servers
    figures: dict[str, Any] = {}
    async with (
        crowd([group_url(here, "g", "sender")]) as [sender],
        crowd(group_url(there, "g", f"member_{n}") for n in range(100)) as members,
    ):

        async def echo() -> int:
            for _ in range(times * 100):
                await say(sender, msg_type="msg", target="echo", msg="x" * 100)
                await hear(sender, 1)
            return times * 100

        async def group() -> int:
            for _ in range(times):
                await say(sender, msg_type="msg", target="group", msg="x" * 100)
                await hear_all([sender, *members], 1)
            return times * 101

        async def direct() -> int:
            for n in itertools.islice(itertools.cycle(range(100)), times * 10):
                to = f"member_{n}"
                await say(sender, msg_type="msg", target="direct", to_id=to, msg="x" * 100)
                await hear(members[n], 1)
            return times * 10

        costs = await compare(servers, rounds, echo=echo, group=group, direct=direct)
        figures |= {f"{name}, us": round(cost * 1e6, 1) for name, cost in costs.items()}

    async with (
        crowd([topics_url(here, "sender")]) as [sender],
        crowd(topics_url(there, f"plain_{n}") for n in range(size)) as plain,
        crowd(topics_url(there, f"each_{n}") for n in range(size)) as filtered,
    ):
        wanted = [choice for n in range(1, 11) for choice in itertools.combinations(FIELDS, n)]
        for socket in plain:
            await say(socket, action="subscribe", channel="plain")
        for socket, fields in zip(filtered, wanted, strict=False):
            chosen = {field: DATA[field] for field in fields}
            await say(socket, action="subscribe", channel="filtered", filters=chosen)
        await hear(sender, 1)
        await hear_all([*plain, *filtered], 2)

        async def publish(channel: str, listeners: list[Any]) -> int:
            for _ in range(times):
                await say(sender, action="publish", channel=channel, payload=DATA)
                await hear_all(listeners, 1)
            return times * len(listeners)

        costs = await compare(
            servers,
            rounds,
            without=lambda: publish("plain", plain),
            with_filters=lambda: publish("filtered", filtered),
        )
        ratio = round(costs["with_filters"] / costs["without"], 2)
        figures |= {f"topic of {size}, us": round(costs["without"] * 1e6, 1)}
        figures |= {f"{size} different filters, times as much": ratio}
    return figures


async def compare(servers: list[Serve], rounds: int, **bursts: Burst) -> dict[str, float]:
    """Seconds of CPU time per delivery: of each burst the median of all rounds but the first."""
    costs: dict[str, list[float]] = {name: [] for name in bursts}
    for number in range(rounds + 1):
        progress(" / ".join(bursts), number, rounds)
        for name, burst in bursts.items():
            before = cpu_s(servers)
            deliveries = await burst()
            costs[name].append((cpu_s(servers) - before) / deliveries)
    return {name: statistics.median(each[1:]) for name, each in costs.items()}


async def sizes(number: int) -> dict[str, Any]:
    """kB of the process for each idle socket."""
    figures: dict[str, Any] = {}
    for name in ("003", "004"):
        with contextlib.ExitStack() as ends:
            server = Fleet.with_services(ends).serve()
            urls = [
                group_url(server, f"group {n % 20}", f"idle {n}")
                if name == "003"
                else topics_url(server, f"idle_{n}")
                for n in range(number)
            ]
            progress(f"{name} sockets", 0, number)
            async with crowd(urls[: number // 10]):  # what a first client loads is not counted
                before = resident(server.pid)
                async with crowd(urls[number // 10 :]) as idle:
                    if name == "004":
                        for n, socket in enumerate(idle):
                            await say(socket, action="subscribe", channel=f"topic {n % 20}")
                        await hear_all(idle, 2)
                    each = (resident(server.pid) - before) / len(idle)
        figures[f"{name}: kB an idle socket of {number}"] = round(each / 1024, 1)
    return figures


if __name__ == "__main__":
    main()
