"""Any sequence of what can happen to an agent's commands, against an oracle.

The oracle says it in plain lists, from PROTOCOLS.md 1.5 and 6 and RELIABILITY.md 2. CHAOS=1 runs
it at full length.
"""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run

from accounts.models import EdgeAgent
from realtime.core.errors import Conflict
from realtime.core.principal import Principal
from realtime.models import Announcement
from sessions_app.models import CommandEvent, Presence, ScheduledCommand
from sessions_app.services import claims, clock, commands
from tests.sessions_app.edge import Agent, queue

pytestmark = pytest.mark.django_db

ALICE = Principal(id="alice", role="operator")
BEGIN = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
LEASE_S, WINDOW, MAX_ATTEMPTS = 30, 3, 5
LONG = bool(os.environ.get("CHAOS"))

commands_made = st.integers(0, 50)


@dataclass
class Command:
    """What the oracle knows of one command; times in seconds since BEGIN."""

    pk: str
    seq: int
    at: int
    ends: int | None
    once: bool
    thread: str
    status: str = "scheduled"
    attempts: int = 0
    written_to: str = ""
    written_at: int = 0
    lease_until: int = 0
    acknowledged: bool = False
    executed: bool = False
    said: set[str] = field(default_factory=set)
    said_at: str = ""  # as the first `completed` said it
    writes_of_round: int = 0

    @property
    def place(self) -> tuple[int, int]:
        return self.at, self.seq

    @property
    def again_at(self) -> int:
        return self.written_at + LEASE_S * 2 ** (min(self.attempts, MAX_ATTEMPTS) - 1)


class Commands(RuleBasedStateMachine):
    clock_s: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).clock_s = 0
        self.agent = Agent("edge_machine")
        self.old: list[str] = []
        self.held = ""
        self.online = False
        self.made: list[Command] = []
        self.connect()

    def teardown(self) -> None:
        for model in (CommandEvent, ScheduledCommand, Presence, EdgeAgent, Announcement):
            model.objects.all().delete()

    def pick(self, number: int) -> Command:
        return self.made[number % len(self.made)]

    # --- people ---

    @rule(
        delay=st.sampled_from([0, 0, 0, 15, 45]),
        lasts=st.sampled_from([None, None, 20, 100]),
        once=st.sampled_from([False, False, False, True]),
        thread=st.sampled_from(["", "t1"]),
    )
    def create(self, delay: int, lasts: int | None, once: bool, thread: str) -> None:
        at = self.clock_s + delay
        ends = at + lasts if lasts else None
        idle = self.online and not any(map(self.is_under_way, self.made))
        row = queue(
            ALICE,
            self.agent.principal.id,
            payload={"thread_id": thread} if thread else {},
            deliver_at=moment(at) if delay else None,
            expires_at=moment(ends) if ends else None,
            delivery="at_most_once" if once else "at_least_once",
        )
        command = Command(row.pk, row.seq, at, ends, once, thread)
        self.made.append(command)
        if idle and not delay:
            command.status, command.lease_until = "leased", self.clock_s + LEASE_S

    @precondition(lambda self: self.made)
    @rule(number=commands_made)
    def cancel(self, number: int) -> None:
        command = self.pick(number)
        open_ = {"scheduled", "leased", "delivered", "received", "executing", "dead"}
        if command.status in open_:
            commands.cancel(principal=ALICE, command_id=command.pk)
            command.status = "cancelled"
        else:
            with pytest.raises(Conflict):
                commands.cancel(principal=ALICE, command_id=command.pk)

    @precondition(lambda self: self.made)
    @rule(number=commands_made)
    def retry(self, number: int) -> None:
        command = self.pick(number)
        if command.status not in {"failed", "expired", "dead"}:
            with pytest.raises(Conflict):
                commands.retry(principal=ALICE, command_id=command.pk)
            return
        commands.retry(principal=ALICE, command_id=command.pk)
        command.status, command.said, command.writes_of_round = "scheduled", set(), 0
        command.at = max(command.at, self.clock_s)
        if command.ends is not None and command.ends <= self.clock_s:
            command.ends = None
        command.acknowledged = command.executed = False

    # --- the dispatcher ---

    @rule(name=st.sampled_from(["d1", "d2"]))
    def claim(self, name: str) -> None:
        claims.claim(dispatcher=name)
        if not self.online:
            return
        used = sum(
            c.status == "leased"
            or c.status == "delivered"
            and c.written_to == self.held
            and c.written_at > self.clock_s - LEASE_S
            for c in self.made
        )
        for command in sorted(filter(self.is_due, self.made), key=lambda c: c.place):
            if used < WINDOW:
                command.status, command.lease_until = "leased", self.clock_s + LEASE_S
                used += 1

    @rule()
    def sweep(self) -> None:
        claims.expire(), claims.return_lapsed(), claims.bury()
        for c in self.made:
            if c.status in {"scheduled", "leased", "delivered"} and self.is_over(c):
                c.status = "expired"
            if c.status == "leased" and c.lease_until <= self.clock_s:
                c.status = "scheduled"
            hopeless = c.once or c.attempts >= MAX_ATTEMPTS
            came_again = self.held not in {"", c.written_to}
            if c.status == "delivered" and hopeless and came_again and c.again_at <= self.clock_s:
                c.status = "dead"

    # --- the agent ---

    @rule()
    def connect(self) -> None:
        if self.held:
            self.old.append(self.held)
        self.held, self.online = self.agent.connect(), True

    @precondition(lambda self: self.online)
    @rule()
    def disconnect(self) -> None:
        self.agent.disconnect()
        self.old.append(self.held)
        self.held, self.online = "", False

    @precondition(lambda self: self.online)
    @rule()
    def crash(self) -> None:
        """The process with its socket is gone, and nobody tidied up."""
        Presence.objects.all().delete()
        self.online = False

    @precondition(lambda self: self.held)
    @rule()
    def take(self) -> None:
        taken = self.agent.take(window=WINDOW)
        expected = self.expected()
        assert taken == [command.pk for command in expected]
        for command in expected:
            self.write(command)

    @precondition(lambda self: self.old)
    @rule()
    def take_on_an_old_connection(self) -> None:
        assert self.agent.take(self.old[-1], window=WINDOW) == []

    @precondition(lambda self: self.made)
    @rule(
        number=commands_made,
        status=st.sampled_from(["received", "executing", "completed", "failed"]),
        at=st.sampled_from(["", "2030-01-01T00:00:00Z", "2030-01-01T00:00:01Z"]),
        times=st.sampled_from([1, 1, 2]),
    )
    def acknowledge(self, number: int, status: str, at: str, times: int) -> None:
        command = self.pick(number)
        for _ in range(times):
            told = self.agent.ack(command.pk, status, completed_at=at)
            assert told == self.heard(command, status, at)

    @precondition(lambda self: self.made)
    @rule(number=commands_made)
    def a_stranger_acknowledges(self, number: int) -> None:
        assert not Agent("edge_stranger").ack(self.pick(number).pk, "completed")

    # --- time ---

    @rule(seconds=st.sampled_from([1, 10, 20, 31, 31, 61, -7]))
    def step(self, seconds: int) -> None:
        type(self).clock_s = max(0, self.clock_s + seconds)

    # --- the oracle ---

    def is_over(self, command: Command) -> bool:
        return command.ends is not None and command.ends <= self.clock_s

    def is_under_way(self, command: Command) -> bool:
        waits = command.status == "scheduled" and command.at <= self.clock_s
        return waits or command.status in {"leased", "delivered"}

    def is_due(self, command: Command) -> bool:
        on_time = command.at <= self.clock_s and not self.is_over(command)
        return command.status == "scheduled" and on_time

    def expected(self) -> list[Command]:
        """What `take` is to give to the connection that holds the agent."""
        live = [c for c in self.made if not self.is_over(c)]
        recent = [
            c for c in live
            if c.status == "delivered" and c.written_at > self.clock_s - LEASE_S
        ]  # fmt: skip
        room = WINDOW - sum(c.written_to == self.held for c in recent)
        may_repeat = [
            c for c in live
            if c.status == "delivered" and not c.once and c.attempts < MAX_ATTEMPTS
            and c.written_to != self.held
        ]  # fmt: skip
        again = [c for c in may_repeat if c.again_at <= self.clock_s]
        pending = [c for c in recent if c in may_repeat and c not in again]
        before = min((c.place for c in self.made if self.is_due(c)), default=(10**9, 0))
        given: list[Command] = []
        leased = [c for c in live if c.status == "leased"]
        for command in sorted([*leased, *again], key=lambda c: c.place):
            behind = any(p.thread == command.thread and p.place < command.place for p in pending)
            if command.place < before and not behind and len(given) < room:
                given.append(command)
        return given

    def write(self, command: Command) -> None:
        """The promises that every write keeps."""
        assert command.at <= self.clock_s, "too early"
        assert not self.is_over(command), "too late"
        assert not command.said & {"received", "executing", "completed", "failed"}, "answered"
        command.writes_of_round += 1
        assert not command.once or command.writes_of_round == 1, "twice"
        command.status, command.attempts = "delivered", command.attempts + 1
        command.written_to, command.written_at = self.held, self.clock_s

    def heard(self, command: Command, status: str, at: str) -> bool:
        """Take an answer in; whether it is news."""
        if not command.attempts:
            return False
        order = ["delivered", "received", "executing"]
        kind, ended = status, status in {"completed", "failed"}
        if command.status in order:
            if ended or order.index(status) > order.index(command.status):
                command.status, command.said_at = status, at
                command.acknowledged = command.acknowledged or ended
        elif command.status == "completed" and status == "completed":
            if command.executed or command.said_at == at:
                return False  # the first one, said again
            kind, command.executed = "executed", True
        elif command.status == "completed" and status == "failed":
            command.status, command.executed = "failed", True
        elif command.status not in {"completed", "failed"} or (
            command.status == "failed" and status == "completed"
        ):
            kind = "late"
        news = kind not in command.said
        command.said.add(kind)
        return news

    @invariant()
    def the_database_says_the_same(self) -> None:
        stands = {
            row.pk: (row.status, row.attempts, bool(row.acknowledged_at), bool(row.executed_at))
            for row in ScheduledCommand.objects.all()
        }
        assert stands == {
            c.pk: (c.status, c.attempts, c.acknowledged, c.executed) for c in self.made
        }


def moment(seconds: int) -> dt.datetime:
    return BEGIN + dt.timedelta(seconds=seconds)


@pytest.mark.timeout(1800 if LONG else 240)
def test_whatever_happens_the_oracle_knows_what_comes_of_it(monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: moment(Commands.clock_s))
    monkeypatch.setattr(claims, "WINDOW", WINDOW)
    length = settings(
        max_examples=300 if LONG else 8,
        stateful_step_count=50 if LONG else 35,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run(Commands, settings=length)
