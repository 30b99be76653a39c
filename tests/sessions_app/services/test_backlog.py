"""The open commands of the last hour, counted backwards by their events."""

from __future__ import annotations

import datetime as dt

import pytest

from accounts.models import Account
from realtime.core.principal import Principal
from sessions_app.models import CommandEvent, ScheduledCommand, Status
from sessions_app.services import backlog, clock
from tests.sessions_app.edge import queue

NOW = dt.datetime(2026, 3, 4, 12, 0, 30, tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def _noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


def happened(principal: Principal, **minutes_ago: int) -> ScheduledCommand:
    """A command with these events; it has the status of the last."""
    command = queue(principal)
    command.events.all().delete()
    for kind, ago in minutes_ago.items():
        at = NOW - dt.timedelta(minutes=ago)
        CommandEvent.objects.create(command=command, kind=kind, at=at)
    last = kind if kind in Status.values else Status.SCHEDULED
    ScheduledCommand.objects.filter(pk=command.pk).update(status=last)
    return command


def test_the_backlog_is_told_minute_by_minute(alice: Principal, other_alice: Principal) -> None:
    happened(alice, scheduled=90)  # before the hour, open still
    happened(alice, scheduled=30, completed=10)
    happened(alice, scheduled=20, completed=15, failed=5)  # ends once, with its first end
    happened(alice, scheduled=200, completed=100, failed=5)  # had ended before the hour
    happened(alice, scheduled=0)
    happened(other_alice, scheduled=40)
    counts = backlog.last_hour(Account.objects.get(slug="default"))
    assert len(counts) == backlog.MINUTES + 1
    # The point before the last is the end of the minute before this one.
    expected = [1] * 30 + [2] * 10 + [3] * 5 + [2] * 5 + [1] * 10 + [2]
    assert counts == expected
    theirs = [0] * 20 + [1] * 41
    assert backlog.last_hour(None) == [sum(both) for both in zip(counts, theirs, strict=True)]


def test_one_that_is_put_back_counts_again(alice: Principal) -> None:
    command = happened(alice, scheduled=30, dead=20)
    at = NOW - dt.timedelta(minutes=10)
    CommandEvent.objects.create(command=command, kind="scheduled", attempt=1, at=at)
    ScheduledCommand.objects.update(status=Status.SCHEDULED)
    counts = backlog.last_hour(Account.objects.get(slug="default"))
    assert counts == [0] * 30 + [1] * 10 + [0] * 10 + [1] * 11
