"""A group in the terminal: lines of standard input go to it, or to one client with `@id text`.

TRUNKLINE_KEY=gwk_… python examples/groups.py ws://127.0.0.1:8000 team laptop
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from trunkline_client import Failure, Gap, GroupClient, GroupMessage, Presence


async def hear(group: GroupClient) -> None:
    async for event in group:
        match event:
            case Presence():
                print(f"* {event.from_id} is {event.status}", flush=True)
            case GroupMessage():
                print(f"{event.from_id} ({event.target}): {event.msg}", flush=True)
            case Gap(reason):
                print(f"* something may be missing: {reason}", flush=True)
            case Failure(message):
                print(f"* refused: {message}", flush=True)


async def say(group: GroupClient, line: str) -> None:
    if line.startswith("@"):
        to, _, text = line[1:].partition(" ")
        await group.send_direct(to, text)
    else:
        await group.send_group(line)


async def main(url: str, name: str, client: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    key = os.environ["TRUNKLINE_KEY"]
    async with GroupClient(url, name, client, api_key=key) as group:
        hearing = asyncio.create_task(hear(group))
        while line := await asyncio.to_thread(sys.stdin.readline):
            await say(group, line.rstrip())
        await hearing  # standard input has ended: until Ctrl-C


if __name__ == "__main__":
    if len(sys.argv) != 4 or not os.environ.get("TRUNKLINE_KEY"):
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
