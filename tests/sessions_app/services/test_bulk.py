"""The same command for many agents: once for each, whatever is killed in between."""

from __future__ import annotations

import datetime as dt

import pytest

from accounts.models import EdgeAgent
from realtime.core.errors import Conflict, FrameTooLarge, InvalidParams, NotFound, RoleTooLow
from realtime.core.principal import Principal
from sessions_app.models import BulkSend, ScheduledCommand
from sessions_app.services import bulk, clock, commands
from tests.sessions_app.edge import queue

RULE = {"command_type": "set_rule", "payload": {"n": 1}}


@pytest.fixture
def known(alice: Principal) -> None:
    for name in ("edge_c", "edge_a", "edge_b", "mac"):
        queue(alice, name, command_type="before")


def sent() -> list[str]:
    rows = ScheduledCommand.objects.filter(command_type="set_rule").order_by("agent__agent_id")
    return [row.agent.agent_id for row in rows]


def test_each_agent_that_fits_gets_it_once_and_in_the_name_of_who_asked(
    known: None, alice: Principal
) -> None:
    row = bulk.start(principal=alice, pattern="edge_*", **RULE)
    assert (row.done, row.total, sent()) == (0, 3, [])
    assert [bulk.work(2), bulk.work(2), bulk.work(2)] == [True, True, False]
    assert sent() == ["edge_a", "edge_b", "edge_c"]
    row.refresh_from_db()
    assert row.done == 3 and row.finished_at is not None and row.refused == []
    (by,) = set(ScheduledCommand.objects.filter(command_type="set_rule").values_list("created_by"))
    assert by == ("alice",)


def test_killed_in_the_middle_of_a_step_nothing_of_it_has_happened(
    known: None, alice: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = bulk.start(principal=alice, pattern="edge_*", **RULE)
    schedule = commands.schedule

    def dies(**asked):  # type: ignore[no-untyped-def]
        done = schedule(**asked)
        if asked["agent_id"] == "edge_b":
            raise KeyboardInterrupt
        return done

    with monkeypatch.context() as patch:
        patch.setattr(commands, "schedule", dies)
        with pytest.raises(KeyboardInterrupt):
            bulk.work()
    row.refresh_from_db()
    assert (row.done, sent()) == (0, [])
    bulk.work()
    assert sent() == ["edge_a", "edge_b", "edge_c"]


def test_a_refusal_of_one_is_kept_and_stops_no_other(known: None, alice: Principal) -> None:
    soon = clock.now() + dt.timedelta(hours=1)
    row = bulk.start(principal=alice, pattern="edge_*", expires_at=soon, **RULE)
    past = (clock.now() - dt.timedelta(hours=1)).isoformat()
    BulkSend.objects.update(request={**row.request, "expires_at": past})
    bulk.work()
    row.refresh_from_db()
    assert [one["agent_id"] for one in row.refused] == ["edge_a", "edge_b", "edge_c"]
    assert "expires_at" in row.refused[0]["error"] and row.finished_at is not None


def test_times_and_priority_arrive_as_they_were_asked_for(known: None, alice: Principal) -> None:
    at = dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    bulk.start(
        principal=alice, pattern="mac", deliver_at=at, priority="immediate", online=False, **RULE
    )
    bulk.work()
    command = ScheduledCommand.objects.get(command_type="set_rule")
    assert (command.deliver_at, command.priority, command.payload) == (at, "immediate", {"n": 1})


def test_a_bulk_is_stopped_once_and_by_its_own_account(
    known: None, alice: Principal, other_alice: Principal
) -> None:
    row = bulk.start(principal=alice, pattern="edge_*", **RULE)
    bulk.work(1)
    with pytest.raises(NotFound):
        bulk.stop(principal=other_alice, bulk_id=row.pk)
    bulk.stop(principal=alice, bulk_id=row.pk)
    with pytest.raises(Conflict):
        bulk.stop(principal=alice, bulk_id=row.pk)
    assert not bulk.work()
    assert sent() == ["edge_a"]
    assert not bulk.visible(other_alice).exists()


@pytest.mark.parametrize(
    ("asked", "refusal", "words"),
    [
        ({"pattern": "nobody"}, InvalidParams, "pattern"),
        ({"payload": []}, InvalidParams, "payload"),
        ({"payload": {"a": "x" * 300_000}}, FrameTooLarge, "payload"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, InvalidParams, "expires_at"),
        ({"deliver_at": "2030-01-01T00:00:00"}, InvalidParams, "deliver_at"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_queued(
    known: None, alice: Principal, asked: dict, refusal: type[Exception], words: str
) -> None:
    with pytest.raises(refusal, match=words):
        bulk.start(principal=alice, **{"pattern": "*", **RULE, **asked})
    assert not BulkSend.objects.exists()


def test_viewers_may_not_and_who_is_shut_out_gets_nothing(known: None, alice: Principal) -> None:
    with pytest.raises(RoleTooLow):
        bulk.start(principal=Principal(id="v", role="viewer"), pattern="*", **RULE)
    EdgeAgent.objects.filter(agent_id="edge_b").update(is_active=False)
    bulk.start(principal=alice, pattern="edge_?", **RULE)
    bulk.work()
    assert sent() == ["edge_a", "edge_c"]
