"""The agent's ledger: whatever comes in whatever order, and is killed, each command acts once."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trunkline_client import Command, Ledger, LedgerInUse
from trunkline_client.commands import completed, failed, scheduled

IDS = st.sampled_from("abcd")


class LedgerMachine(RuleBasedStateMachine):
    """Against an oracle of a few dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ledger.sqlite3"
        self.ledger = Ledger(self.path)
        self.now = 1000.0
        self.known: dict[str, float] = {}  # when each is due
        self.state: dict[str, str] = {}
        self.lane: dict[str, str] = {}
        self.begun: dict[str, int] = {}
        self.acks: list[tuple[str, str]] = []  # (id, status), in order
        self.read = 0  # how many of them the server has read

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()

    @rule(name=IDS, delay=st.sampled_from([None, -5.0, 5.0, 50.0]), lane=st.sampled_from("pq"))
    def arrive(self, name: str, delay: float | None, lane: str) -> None:
        at = None if delay is None else self.now + delay
        command = Command(name, "note", {"thread_id": lane}, send_at=at)
        new = self.ledger.record(command, self.now, scheduled(name) if at else None)
        assert new is (name not in self.known)
        if new:
            self.known[name], self.state[name], self.lane[name] = at or 0.0, "waiting", lane
            if at:
                self.acks.append((name, "completed"))

    @rule(name=IDS)
    def arrive_and_be_refused(self, name: str) -> None:
        new = self.ledger.record(Command(name, "?"), self.now, failed(name, "no"))
        assert new is (name not in self.known)
        if new:
            self.known[name], self.state[name] = 0.0, "done"
            self.acks.append((name, "failed"))

    @rule(passes=st.sampled_from([0.0, 10.0, -10.0]))
    def claim(self, passes: float) -> None:
        self.now += passes
        busy = {self.lane[name] for name, state in self.state.items() if state == "acting"}
        found = self.ledger.claim(self.now, busy)
        free = [n for n in self.known if self.state[n] == "waiting" and self.lane[n] not in busy]
        due = [name for name in free if self.known[name] <= self.now]
        assert (found is None) == (not due)
        if found:
            assert self.known[found.id] == min(self.known[name] for name in due)
            self.state[found.id] = "acting"
            self.begun[found.id] = self.begun.get(found.id, 0) + 1

    @rule(name=IDS, well=st.booleans())
    def finish(self, name: str, well: bool) -> None:
        ack = completed(name, self.now) if well else failed(name, "no")
        ended = self.ledger.finish(ack)
        assert ended is (self.state.get(name) == "acting")
        self._ended(name, ack["status"], ended)

    @rule(name=IDS)
    def cancel(self, name: str) -> None:
        ended = self.ledger.cancel(failed(name, "cancelled"))
        assert ended is (self.state.get(name) == "waiting")
        self._ended(name, "failed", ended)

    def _ended(self, name: str, status: str, ended: bool) -> None:
        if ended:
            self.state[name] = "done"
            self.acks.append((name, status))

    @rule()
    def be_killed_and_come_back(self) -> None:
        self.ledger.close()
        self.ledger = Ledger(self.path)
        for command in self.ledger.acting():
            assert self.state[command.id] == "acting"
            assert self.ledger.finish(failed(command.id, "interrupted"))
            self._ended(command.id, "failed", True)
        assert "acting" not in self.state.values()

    @precondition(lambda self: len(self.acks) > self.read)
    @rule(share=st.floats(0, 1))
    def be_read(self, share: float) -> None:
        unread = self.ledger.acks(limit=1000)
        number = round(share * len(unread))
        if number:
            self.ledger.confirm(unread[number - 1][0])
            self.read += number

    @invariant()
    def nothing_acts_twice(self) -> None:
        assert all(times == 1 for times in self.begun.values())

    @invariant()
    def what_is_unread_is_kept_in_order(self) -> None:
        kept = [(ack["command_id"], ack["status"]) for _, ack in self.ledger.acks(limit=1000)]
        assert kept == self.acks[self.read :]

    @invariant()
    def what_is_done_was_said(self) -> None:
        for name, state in self.state.items():
            ends = [ack for ack in self.acks if ack[0] == name]
            assert len(ends) == (1 if self.known[name] else 0) + (state == "done")
            assert [(a["command_id"], a["status"]) for _, a in self.ledger.said(name)] == ends


LedgerMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestLedgerMachine = LedgerMachine.TestCase


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    yield ledger
    ledger.close()


def test_a_command_is_read_as_it_was_written(ledger):
    command = Command("msg_1", "note", {"text": "hey 💙", "n": [1]}, "immediate", "t", 12.5)
    ledger.record(command, 0.0)
    assert ledger.claim(13.0) == command


def test_a_busy_lane_lets_others_pass(ledger):
    for number, lane in enumerate("ppq"):
        ledger.record(Command(f"c{number}", "note", {"thread_id": lane}), 0.0)
    assert ledger.claim(1.0).id == "c0"
    assert ledger.claim(1.0, ["p"]).id == "c2"
    assert ledger.claim(1.0, ["p", "q"]) is None
    assert ledger.next_due(["p"]) is None
    assert ledger.next_due() == 0.0


def test_what_may_be_repeated_waits_again(ledger):
    ledger.record(Command("c", "note"), 0.0)
    assert ledger.claim(1.0) and ledger.acting() and not ledger.claim(1.0)
    ledger.again("c")
    assert not ledger.acting()
    assert ledger.claim(1.0).id == "c"


def test_only_what_is_done_and_read_is_forgotten(ledger):
    for name in ("done", "unread", "open"):
        ledger.record(Command(name, "note"), 0.0)
    for name in ("done", "unread"):
        ledger.claim(1.0)
        ledger.finish(completed(name, 1.0))
    ledger.confirm(ledger.acks()[0][0])
    ledger.prune(before=5.0)
    assert ledger.record(Command("done", "note"), 9.0)
    assert not ledger.record(Command("unread", "note"), 9.0)
    assert not ledger.record(Command("open", "note"), 9.0)


def test_a_second_process_is_refused_and_a_stranger_cannot_read(ledger, tmp_path):
    with pytest.raises(LedgerInUse, match="in use by another process"):
        Ledger(tmp_path / "ledger.sqlite3", wait_s=0.0)
    files = list(tmp_path.iterdir())
    assert files and all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
