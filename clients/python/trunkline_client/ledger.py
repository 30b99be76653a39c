"""The agent's memory: every command before it acts, every acknowledgement until it is read.

One SQLite file, one process, one thread. A command goes waiting → acting → done and never back,
except one that may be repeated. What is in the file survives kill -9 and a loss of power.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from trunkline_client.commands import Ack, Command

P = ParamSpec("P")
T = TypeVar("T")

SCHEMA = """
CREATE TABLE IF NOT EXISTS commands (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL,
    lane TEXT NOT NULL,
    due_at REAL NOT NULL,  -- seconds since 1970; 0: at once
    state TEXT NOT NULL CHECK (state IN ('waiting', 'acting', 'done')),
    received_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS commands_open ON commands (due_at, seq) WHERE state != 'done';
CREATE TABLE IF NOT EXISTS acks (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    command_id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('scheduled', 'end')),
    body TEXT NOT NULL,
    confirmed INTEGER NOT NULL DEFAULT 0,
    UNIQUE (command_id, kind)
);
CREATE INDEX IF NOT EXISTS acks_open ON acks (seq) WHERE confirmed = 0;
"""


class LedgerInUse(RuntimeError):
    """Another process has this ledger: two agents on one file would act twice."""


class Ledger:
    """All methods are short and blocking. `path` is made with mode 0600."""

    def __init__(self, path: str | Path, wait_s: float = 5.0) -> None:
        self._path = Path(path)
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = sqlite3.connect(self._path, timeout=wait_s, isolation_level=None)
        try:
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")  # freed with the process, even -9
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
        except sqlite3.Error as error:
            self._db.close()
            if "locked" in str(error):
                raise LedgerInUse(f"{self._path} is in use by another process") from None
            raise type(error)(f"{self._path}: {error}") from None

    def close(self) -> None:
        self._db.close()

    # --- commands ---

    def record(self, command: Command, now: float, ack: Ack | None = None) -> bool:
        """Keep a command before anything else is done; False for one that is already here.

        With an `ack` that failed it is done; with any other it waits for its `send_at`.
        """
        refused = ack is not None and ack["status"] == "failed"
        with self._transaction():
            done = self._db.execute(
                "INSERT OR IGNORE INTO commands (id, body, lane, due_at, state, received_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    command.id,
                    _stored(command),
                    command.lane,
                    command.send_at or 0.0,
                    "done" if refused else "waiting",
                    now,
                ),
            )
            new = done.rowcount == 1
            if new and ack is not None:
                self._keep(ack, "end" if refused else "scheduled")
        return new

    def claim(self, now: float, busy: Collection[str] = ()) -> Command | None:
        """The next command that is due in a lane that is not busy; from now on it is acting."""
        marks = ", ".join("?" * len(busy))
        row = self._db.execute(
            "UPDATE commands SET state = 'acting' WHERE seq = (SELECT seq FROM commands"
            f" WHERE state = 'waiting' AND due_at <= ? AND lane NOT IN ({marks})"
            " ORDER BY due_at, seq LIMIT 1) RETURNING body",
            (now, *busy),
        ).fetchone()
        return _read(row[0]) if row else None

    def finish(self, ack: Ack) -> bool:
        """Note how an acting command ended; False when it is not acting."""
        return self._end(ack, "acting")

    def cancel(self, ack: Ack) -> bool:
        """End a command that has not begun to act; False when there is none."""
        return self._end(ack, "waiting")

    def acting(self) -> list[Command]:
        """What was in the middle of acting: after a crash nobody knows whether it did."""
        return self._commands("SELECT body FROM commands WHERE state = 'acting' ORDER BY seq")

    def again(self, command_id: str) -> None:
        """Let a command that may be repeated act from the beginning."""
        self._db.execute(
            "UPDATE commands SET state = 'waiting' WHERE id = ? AND state = 'acting'", (command_id,)
        )

    def next_due(self, busy: Collection[str] = ()) -> float | None:
        """When the next command is due whose lane is not busy; None when none waits."""
        marks = ", ".join("?" * len(busy))
        row = self._db.execute(
            f"SELECT MIN(due_at) FROM commands WHERE state = 'waiting' AND lane NOT IN ({marks})",
            tuple(busy),
        ).fetchone()
        due: float | None = row[0]
        return due

    def waiting(self) -> int:
        """How many commands have not begun to act."""
        (number,) = self._db.execute(
            "SELECT COUNT(*) FROM commands WHERE state = 'waiting'"
        ).fetchone()
        return int(number)

    def prune(self, before: float) -> None:
        """Forget what came before this moment, is done, and whose end the server has read."""
        old = (
            "SELECT id FROM commands WHERE state = 'done' AND received_at < ? AND NOT EXISTS"
            " (SELECT 1 FROM acks WHERE command_id = commands.id AND confirmed = 0)"
        )
        with self._transaction():
            self._db.execute(f"DELETE FROM acks WHERE command_id IN ({old})", (before,))
            self._db.execute(f"DELETE FROM commands WHERE id IN ({old})", (before,))

    # --- acknowledgements ---

    def acks(self, after: int = 0, limit: int = 100) -> list[tuple[int, Ack]]:
        """Acknowledgements that nobody is known to have read, with their numbers, oldest first."""
        rows = self._db.execute(
            "SELECT seq, body FROM acks WHERE confirmed = 0 AND seq > ? ORDER BY seq LIMIT ?",
            (after, limit),
        )
        return [(seq, json.loads(text)) for seq, text in rows]

    def confirm(self, through: int) -> None:
        """The server has read every acknowledgement up to this number."""
        self._db.execute(
            "UPDATE acks SET confirmed = 1 WHERE confirmed = 0 AND seq <= ?", (through,)
        )

    def said(self, command_id: str) -> list[tuple[bool, Ack]]:
        """All that was acknowledged of one command, in order, and whether it was confirmed."""
        rows = self._db.execute(
            "SELECT confirmed, body FROM acks WHERE command_id = ? ORDER BY seq", (command_id,)
        )
        return [(bool(confirmed), json.loads(text)) for confirmed, text in rows]

    # --- inside ---

    def _end(self, ack: Ack, state: str) -> bool:
        with self._transaction():
            done = self._db.execute(
                "UPDATE commands SET state = 'done' WHERE id = ? AND state = ?",
                (ack["command_id"], state),
            )
            ended = done.rowcount == 1
            if ended:
                self._keep(ack, "end")
        return ended

    def _keep(self, ack: Ack, kind: str) -> None:
        self._db.execute(
            "INSERT INTO acks (command_id, kind, body) VALUES (?, ?, ?)",
            (ack["command_id"], kind, json.dumps(ack)),
        )

    def _commands(self, query: str) -> list[Command]:
        return [_read(text) for (text,) in self._db.execute(query)]

    @contextlib.contextmanager
    def _transaction(self) -> Any:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


class OneThread:
    """Runs a ledger's methods in one thread, so that no disk holds up the event loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")

    async def __call__(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(work, *args, **kwargs))

    def close(self) -> None:
        self._thread.shutdown()


def _stored(command: Command) -> str:
    return json.dumps({**vars(command), "payload": dict(command.payload)})


def _read(text: str) -> Command:
    return Command(**json.loads(text))
