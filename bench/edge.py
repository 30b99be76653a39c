"""`python -m bench.edge [--quick]`: edge agents' speed and size, one JSON object at the end.

Figures of the machine it runs on, beside whatever else runs there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import sys
from pathlib import Path
from typing import Any

from bench import drain, latency
from bench.drain import Show
from bench.fleet import Fleet
from tests.services.agents import Agents

SPARE_FILES = 300
MOST_AGENTS = 5000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it works")
    quick = parser.parse_args().quick
    figures: dict[str, Any] = {}
    with contextlib.ExitStack() as ends:
        fleet = Fleet.with_services(ends)
        figures |= asyncio.run(
            latency.measure(
                progress,
                fleet.serve(),
                idle=20 if quick else 200,
                per_s=20 if quick else 200,
                seconds=2 if quick else 10,
            )
        )
    figures["memory"] = memory(progress, 50 if quick else MOST_AGENTS)
    agents = 20 if quick else 800
    figures["drain"] = drain.measure(progress, rows=agents * 25, agents=agents)
    print(file=sys.stderr)
    print(json.dumps(figures, indent=1))


def memory(show: Show, wanted: int) -> dict[str, Any]:
    """What one connected agent costs its process."""
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    number = min(wanted, most - SPARE_FILES)
    with contextlib.ExitStack() as ends:
        fleet = Fleet.with_services(ends)
        server = fleet.serve()
        before = resident(server.pid)
        names = [f"idle_{n}" for n in range(number)]
        crowd = Agents([server.url.replace("http", "ws")], names, server.environ["EDGE_SECRET"])
        crowd.start_within_s = 400
        ends.callback(crowd.close)
        show("agents", 0, number)
        crowd.start()
        show("agents", number, number)
        each = (resident(server.pid) - before) / number
    return {"agents": number, "kB each": round(each / 1024, 1)}


def resident(pid: int) -> int:
    """Bytes; see proc(5), `statm`."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def progress(what: str, done: int, of: int) -> None:
    bar = "#" * (20 * done // of) if of else ""
    print(f"\r{what:20} [{bar:20}] {done}/{of}   ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
