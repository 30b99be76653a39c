"""Hears a topic and says what comes; lines of standard input are published on it.

NEXUS_TOKEN=… python examples/topics.py ws://127.0.0.1:8000 telemetry '{"agent_id":"a1"}'
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys

from trunkline_client import Failure, Gap, Message, TopicClient


async def hear(topics: TopicClient) -> None:
    async for event in topics:
        match event:
            case Message(channel, data, sender):
                print(f"{channel} {sender or '(the server)'}: {json.dumps(data)}", flush=True)
            case Gap(reason, channel):
                print(f"{channel}: something may be missing: {reason}", flush=True)
            case Failure(message):
                print(f"refused: {message}", flush=True)


async def main(url: str, channel: str, filters: str = "{}") -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    async with TopicClient(url, lambda: os.environ["NEXUS_TOKEN"]) as topics:
        await topics.subscribe(channel, json.loads(filters))
        hearing = asyncio.create_task(hear(topics))
        while line := await asyncio.to_thread(sys.stdin.readline):
            await topics.publish(channel, json.loads(line))
        await hearing  # standard input has ended: until Ctrl-C


if __name__ == "__main__":
    if len(sys.argv) < 3 or not os.environ.get("NEXUS_TOKEN"):
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
