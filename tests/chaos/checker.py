"""The accounting identity of RELIABILITY.md section 2, from the database and the agents' journals.

It reads the database by itself: nothing of the code that it judges takes part.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.services.agents import Line

OPEN = {"scheduled", "leased", "delivered", "received", "executing"}
ENDED = {"completed", "failed", "expired", "cancelled", "dead"}
SAID = {"received", "executing", "completed", "failed"}
ON_THE_WAY_S = 2.0  # between the mark and the agent's journal, on a busy machine
ROUNDING_S = 0.001  # of SQLite's clock
# A thread waits one lease for what may come again; after its second write that is longer on its
# way, and what came after it goes first.
KEEPS_ITS_PLACE = 2

COMMANDS = """SELECT command.id, agent.agent_id, command.seq, command.status, command.attempts,
    command.retries, command.deliver_at, command.expires_at
    FROM sessions_app_scheduledcommand command
    JOIN accounts_edgeagent agent ON agent.id = command.agent_id"""
EVENTS = "SELECT command_id, kind, attempt, at, data FROM sessions_app_commandevent"


@dataclass(frozen=True, slots=True)
class Row:
    agent: str
    seq: int
    status: str
    attempts: int
    retries: int
    deliver_at: float
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class Books:
    """What the database says: commands by id, and (command, kind, attempt, at, data) of events."""

    commands: dict[str, Row]
    events: list[tuple[str, str, int, float, str]]

    @property
    def open(self) -> set[str]:
        return {name for name, row in self.commands.items() if row.status in OPEN}


def read(url: str) -> Books:
    with _database(url) as execute:
        # Events first: what happens in between is then in the commands.
        events = [(c, kind, n, _epoch(at), str(data)) for c, kind, n, at, data in execute(EVENTS)]
        commands = {
            pk: Row(agent, seq, status, tries, again, _epoch(due), _epoch(end) if end else None)
            for pk, agent, seq, status, tries, again, due, end in execute(COMMANDS)
        }
    return Books(commands, events)


def check(url: str, accepted: Collection[str], journal: Iterable[Line]) -> Books:
    """Every rule, or an AssertionError that names the commands; what was read, for more."""
    books, lines = read(url), list(journal)
    _all_are_there(books, accepted, lines)
    _events_agree(books)
    _never_early_never_late(books, lines)
    _what_was_read_is_recorded(books, lines)
    _in_order(books, lines)
    return books


def _all_are_there(books: Books, accepted: Collection[str], lines: list[Line]) -> None:
    lost = set(accepted) - books.commands.keys()
    assert not lost, f"accepted and gone: {lost}"
    strange = {name for name, row in books.commands.items() if row.status not in OPEN | ENDED}
    assert not strange, f"in no state at all: {strange}"
    seen = {line.command for line in lines if line.what == "seen"}
    acked = {line.command for line in lines if line.what == "acked"}
    assert acked <= seen, f"acknowledged and never seen: {acked - seen}"
    assert seen <= books.commands.keys(), (
        f"seen and not in the database: {seen - books.commands.keys()}"
    )


def _events_agree(books: Books) -> None:
    counted = Counter((command, kind, attempt) for command, kind, attempt, _, _ in books.events)
    twice = {key for key, count in counted.items() if count > 1}
    assert not twice, f"recorded twice: {twice}"
    for name, row in books.commands.items():
        writes = sum(count for key, count in counted.items() if key[:2] == (name, "delivered"))
        assert writes == row.attempts, f"{name}: {writes} writes recorded, {row.attempts} counted"
        if row.status in ENDED:
            assert counted[name, row.status, row.retries] == 1, f"{name}: {row.status} unrecorded"


def _never_early_never_late(books: Books, lines: list[Line]) -> None:
    for name, kind, _, at, _ in books.events:
        row = books.commands[name]
        if kind == "delivered":
            assert at >= row.deliver_at - ROUNDING_S, f"{name}: written early"
            assert row.expires_at is None or at < row.expires_at, f"{name}: written late"
    writes: Counter[str] = Counter()
    for line in lines:
        if line.what == "seen":
            writes[line.command] += 1
            row = books.commands[line.command]
            assert line.at >= row.deliver_at - ROUNDING_S, f"{line.command}: seen early"
            end = row.expires_at
            assert end is None or line.at < end + ON_THE_WAY_S, f"{line.command}: seen late"
    for name, count in writes.items():
        assert count <= books.commands[name].attempts, f"{name}: seen oftener than written"


def _what_was_read_is_recorded(books: Books, lines: list[Line]) -> None:
    recorded = {(command, kind) for command, kind, _, _, _ in books.events}
    for line in lines:
        if line.what == "confirmed":
            kinds = {(line.command, line.status), (line.command, "late")}
            assert recorded & kinds, f"{line.command}: {line.status} was read and not recorded"


def _in_order(books: Books, lines: list[Line]) -> None:
    """On each connection (due time, seq) only grows."""
    last: dict[str, tuple[float, int]] = {}
    for line in lines:
        if line.what == "connected":
            last.pop(line.agent, None)
        elif line.what == "seen":
            row = books.commands[line.command]
            if row.attempts > KEEPS_ITS_PLACE:
                continue
            place = (row.deliver_at, row.seq)
            before = last.get(line.agent)
            assert before is None or before < place, f"{line.command}: after {before}, at {place}"
            last[line.agent] = place


@contextlib.contextmanager
def _database(url: str) -> Iterator[Any]:
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"), 20)) as database:
            yield database.execute
    else:
        with psycopg.connect(url, connect_timeout=10) as connection:
            yield connection.execute


def _epoch(moment: Any) -> float:
    """SQLite keeps text in UTC."""
    if isinstance(moment, str):
        moment = dt.datetime.fromisoformat(moment).replace(tzinfo=dt.UTC)
    return float(moment.timestamp())
