"""`python -m trunkline_client edge …`: an agent that prints what it receives and acknowledges.

Standard output is one JSON object a line: {"at", "what": connected | lost | received | acted |
acked, …}. The secret comes from a file or from EDGE_SECRET, never from the command line, which
other users of the computer can read.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from trunkline_client.commands import Command, written
from trunkline_client.edge import ANY, EdgeAgent, Replaced
from trunkline_client.ledger import LedgerInUse

REPLACED, WRONG = 3, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when it was stopped, 3 when it was replaced, 2 for wrong arguments."""
    asked = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if asked.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    try:
        asyncio.run(_run(_agent(asked)))
    except Replaced as error:
        print(error, file=sys.stderr)
        return REPLACED
    except (LedgerInUse, OSError, ValueError, sqlite3.Error) as error:
        print(f"trunkline_client: {error}", file=sys.stderr)
        return WRONG
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trunkline_client")
    parts = parser.add_subparsers(required=True, metavar="edge")
    edge = parts.add_parser("edge", help="an edge agent that echoes its commands")
    edge.add_argument("--url", default="ws://127.0.0.1:8000", help="ws:// or wss:// (%(default)s)")
    edge.add_argument("--agent-id", required=True, help="for example edge_15551234567")
    edge.add_argument("--secret-file", type=Path, help="read at each attempt; else EDGE_SECRET")
    edge.add_argument("--ledger", type=Path, help="kept over restarts (AGENT_ID.sqlite3)")
    edge.add_argument("--status-every-s", type=float, default=0.0, help="0: only at the end")
    edge.add_argument("--verbose", action="store_true")
    return parser


def _agent(asked: argparse.Namespace) -> EdgeAgent:
    agent = EdgeAgent(
        asked.url,
        asked.agent_id,
        _secret(asked.secret_file),
        asked.ledger or Path(f"{quote(asked.agent_id, safe='')}.sqlite3"),
        status_every_s=asked.status_every_s,
        observer=_print,
    )

    @agent.on(ANY)
    def echo(command: Command) -> None:
        _print("acted", {"command_id": command.id, "command_type": command.type})

    return agent


def _secret(file: Path | None) -> Any:
    if file is not None:
        return file.read_text
    if secret := os.environ.get("EDGE_SECRET", "").strip():
        return secret
    raise ValueError("no secret: give --secret-file, or set EDGE_SECRET")


async def _run(agent: EdgeAgent) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, agent.stop)
        except NotImplementedError:  # Windows: Ctrl-C cancels, which ends it as well
            break
    await agent.run()


def _print(what: str, data: Mapping[str, Any]) -> None:
    line = {"at": written(time.time()), "what": what, **data}
    # One write for a line: it is whole or not there, whatever ends the process.
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
