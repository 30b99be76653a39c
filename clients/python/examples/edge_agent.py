"""An agent that sends messages. Here they are printed; replace `deliver` with what sends yours.

EDGE_SECRET=… python examples/edge_agent.py ws://127.0.0.1:8000 edge_15551234567
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

from trunkline_client import Command, EdgeAgent


def deliver(thread_id: str, text: str) -> None:
    print(f"to {thread_id}: {text}", flush=True)


def build(url: str, agent_id: str, ledger: str) -> EdgeAgent:
    agent = EdgeAgent(url, agent_id, lambda: os.environ["EDGE_SECRET"], ledger)

    @agent.on("schedule_message")
    def at_its_time(command: Command) -> None:
        """Called when `send_at` has come, connected or not; the server was told at once."""
        deliver(command.payload["thread_id"], command.payload["message_text"])

    @agent.on("send_message_now")
    async def now(command: Command) -> None:
        thread_id, text = command.payload.get("thread_id"), command.payload.get("text")
        if not thread_id or not text:
            raise ValueError("Missing required fields: thread_id and text")
        deliver(thread_id, text)

    return agent


async def main(url: str, agent_id: str, ledger: str = "edge_agent.sqlite3") -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    agent = build(url, agent_id, ledger)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, agent.stop)
    await agent.run()


if __name__ == "__main__":
    if len(sys.argv) < 3 or not os.environ.get("EDGE_SECRET"):
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
