"""The checker itself: books and journals that break one rule each, and are found out by name."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from tests.chaos.checker import OPEN, check
from tests.services.agents import Line

TABLES = """
CREATE TABLE accounts_edgeagent (id INTEGER PRIMARY KEY, agent_id TEXT);
CREATE TABLE sessions_app_scheduledcommand (
    id TEXT PRIMARY KEY, agent_id INTEGER, seq INTEGER, status TEXT, attempts INTEGER,
    retries INTEGER, deliver_at TEXT, expires_at TEXT
);
CREATE TABLE sessions_app_commandevent (
    command_id TEXT, kind TEXT, attempt INTEGER, at TEXT, data TEXT
);
INSERT INTO accounts_edgeagent VALUES (1, 'edge_1');
"""
# 12:00:00 UTC, when both commands are due; then by seconds.
NOON = 1795262400.0


def moment(seconds):
    return f"2026-11-21 12:00:{seconds:06.3f}"


class World:
    """Two commands that were delivered, acknowledged and recorded as they should be."""

    def __init__(self, path):
        self.url = f"sqlite:///{path}"
        self._path = path
        self.accepted = ["first", "second"]
        self.journal = [Line("connected", "edge_1", NOON)]
        with self.database() as execute:
            for statement in filter(str.strip, TABLES.split(";")):
                execute(statement)
        for seq, name in enumerate(self.accepted, 1):
            self.command(name, seq)
            for kind, attempt in [
                ("scheduled", 0),
                ("leased", 1),
                ("delivered", 1),
                ("completed", 0),
            ]:
                self.event(name, kind, attempt, at=seq)
            self.say("seen", name, at=seq)
            self.say("acked", name, "completed", at=seq)
            self.say("confirmed", name, "completed", at=seq)

    @contextlib.contextmanager
    def database(self):
        with contextlib.closing(sqlite3.connect(self._path, isolation_level=None)) as database:
            yield database.execute

    def change(self, statement, *values):
        with self.database() as execute:
            assert execute(statement, values).rowcount == 1

    def command(self, name, seq, status="completed", attempts=1):
        self.change(
            "INSERT INTO sessions_app_scheduledcommand VALUES (?, 1, ?, ?, ?, 0, ?, ?)",
            *(name, seq, status, attempts, moment(0), moment(30)),
        )

    def set(self, name, column, value):
        self.change(
            f"UPDATE sessions_app_scheduledcommand SET {column} = ? WHERE id = ?", value, name
        )

    def event(self, name, kind, attempt=0, *, at=1):
        self.change(
            "INSERT INTO sessions_app_commandevent VALUES (?, ?, ?, ?, '{}')",
            *(name, kind, attempt, moment(at)),
        )

    def forget(self, name, kind):
        self.change(
            "DELETE FROM sessions_app_commandevent WHERE command_id = ? AND kind = ?", name, kind
        )

    def move(self, name, kind, at):
        self.change(
            "UPDATE sessions_app_commandevent SET at = ? WHERE command_id = ? AND kind = ?",
            *(moment(at), name, kind),
        )

    def say(self, what, name="", status="", *, at=1.0):
        self.journal.append(Line(what, "edge_1", NOON + at, name, status))

    def unsay(self, what, name):
        self.journal = [line for line in self.journal if (line.what, line.command) != (what, name)]

    def check(self):
        return check(self.url, self.accepted, self.journal)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "books.sqlite3")


def test_books_that_agree_pass(world):
    assert set(world.check().commands) == {"first", "second"}


@pytest.mark.parametrize("status", sorted(OPEN))
def test_a_command_on_its_way_passes_and_is_open(world, status):
    world.command("third", 3, status, attempts=0)
    assert world.check().open == {"third"}


def test_writing_it_again_after_a_new_connection_passes(world):
    world.set("second", "attempts", 2)
    world.event("second", "delivered", 2, at=5)
    world.say("connected", at=5)
    world.say("seen", "second", at=5)
    world.check()


@pytest.mark.parametrize("attempts", [2, 3])
def test_only_what_was_written_three_times_may_come_behind_what_came_after_it(world, attempts):
    world.set("first", "attempts", attempts)
    for attempt in range(2, attempts + 1):
        world.event("first", "delivered", attempt, at=5)
    world.say("connected", at=5)
    world.command("third", 3)
    world.event("third", "delivered", 1, at=5)
    world.event("third", "completed", at=5)
    world.say("seen", "third", at=5)
    world.say("seen", "first", at=5)
    with contextlib.nullcontext() if attempts == 3 else pytest.raises(AssertionError):
        world.check()


def test_an_answer_that_came_too_late_is_recorded_as_such(world):
    world.forget("first", "completed")
    world.set("first", "status", "cancelled")
    world.event("first", "cancelled")
    world.event("first", "late")
    world.check()


def is_gone(world):
    world.accepted.append("lost")
    return "accepted and gone: .*lost"


def is_in_no_state(world):
    world.set("first", "status", "limbo")
    return "no state at all: .*first"


def is_acknowledged_unseen(world):
    world.unsay("seen", "first")
    return "acknowledged and never seen: .*first"


def is_seen_and_unknown(world):
    world.say("seen", "ghost")
    return "not in the database: .*ghost"


def is_recorded_twice(world):
    world.event("first", "received")
    world.event("first", "received")
    return "recorded twice: .*first.*received"


def is_written_and_not_counted(world):
    world.event("first", "delivered", 2)
    return "first: 2 writes recorded, 1 counted"


def is_counted_and_not_written(world):
    world.set("first", "attempts", 2)
    return "first: 1 writes recorded, 2 counted"


def ended_without_a_record(world):
    world.forget("first", "completed")
    world.event("first", "executed")
    return "first: completed unrecorded"


def ended_in_an_earlier_life_only(world):
    world.set("first", "retries", 1)
    return "first: completed unrecorded"


def is_written_early(world):
    world.move("first", "delivered", 1)
    world.set("first", "deliver_at", moment(1.5))
    return "first: written early"


def is_written_late(world):
    world.set("first", "expires_at", moment(1))
    return "first: written late"


def is_seen_early(world):
    world.set("second", "deliver_at", moment(2))
    world.unsay("seen", "second")
    world.say("seen", "second", at=1.9)
    return "second: seen early"


def is_seen_late(world):
    world.set("second", "expires_at", moment(2.5))
    world.unsay("seen", "second")
    world.say("seen", "second", at=4.6)
    return "second: seen late"


def is_seen_oftener_than_written(world):
    world.say("connected")
    world.say("seen", "second", at=3)
    return "second: seen oftener than written"


def was_read_and_not_recorded(world):
    world.say("acked", "second", "failed")
    world.say("confirmed", "second", "failed")
    return "second: failed was read and not recorded"


def came_in_the_wrong_order(world):
    world.set("second", "attempts", 2)
    world.event("second", "delivered", 2, at=2)
    world.set("first", "attempts", 2)
    world.event("first", "delivered", 2, at=2)
    world.say("connected", at=3)
    world.say("seen", "second", at=3)
    world.say("seen", "first", at=3)
    return "first: after"


def came_twice_on_one_connection(world):
    world.set("second", "attempts", 2)
    world.event("second", "delivered", 2, at=2)
    world.say("seen", "second", at=3)
    return "second: after"


def was_due_earlier_and_came_later(world):
    world.set("first", "deliver_at", moment(0.9))
    return "second: after"


FAULTS = [
    is_gone,
    is_in_no_state,
    is_acknowledged_unseen,
    is_seen_and_unknown,
    is_recorded_twice,
    is_written_and_not_counted,
    is_counted_and_not_written,
    ended_without_a_record,
    ended_in_an_earlier_life_only,
    is_written_early,
    is_written_late,
    is_seen_early,
    is_seen_late,
    is_seen_oftener_than_written,
    was_read_and_not_recorded,
    came_in_the_wrong_order,
    came_twice_on_one_connection,
    was_due_earlier_and_came_later,
]


@pytest.mark.parametrize("break_a_rule", FAULTS, ids=lambda fault: fault.__name__)
def test_a_command_that(world, break_a_rule):
    words = break_a_rule(world)
    with pytest.raises(AssertionError, match=words):
        world.check()
