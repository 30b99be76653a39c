"""Serve a session: repeat what is said, and ask before anything that begins with `run `.

TRUNKLINE_KEY=gwk_… python examples/session_worker.py ws://127.0.0.1:8000 session_…
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from trunkline_client import SessionWorker, Turn


async def answer(turn: Turn) -> str:
    command = turn.text.removeprefix("run ")
    if command != turn.text:
        decision = await turn.ask("Bash", {"command": command})
        if decision.get("behavior") != "allow":
            return await reply(turn, "then not")
        command = str(decision.get("updatedInput", {}).get("command", command))
    return await reply(turn, f"you said: {command}")


async def reply(turn: Turn, text: str) -> str:
    for word in text.split():
        await turn.stream(f"{word} ")
    await turn.say(text)
    return text


async def main(url: str, session: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    await SessionWorker(url, session, token=os.environ["TRUNKLINE_KEY"], turn=answer).run()


if __name__ == "__main__":
    if len(sys.argv) != 3 or not os.environ.get("TRUNKLINE_KEY"):
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
