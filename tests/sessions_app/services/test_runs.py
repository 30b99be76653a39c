from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from realtime.core import addresses
from realtime.core.principal import Principal
from realtime.models import Announcement
from sessions_app.agents import Retrying
from sessions_app.models import Run, Session
from sessions_app.services import nodes, runs, sessions
from sessions_app.services.sent import Sent
from tests.sessions_app.services.test_sending_races import in_threads

Say = Callable[..., Sent]
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def test_a_completed_run_is_stored_answered_and_announced(say: Say, told: Any) -> None:
    sent = say("hello", connection="c-1")
    announcement, answer = runs.finish(
        run_id=sent.run_id, status="completed", content="hi there", usage=USAGE
    )
    assert answer == {"runId": sent.run_id, "content": "hi there", "usage": USAGE}
    run = Run.objects.get()
    assert (run.status, run.content, run.usage) == ("completed", "hi there", USAGE)
    assert run.finished_at is not None
    targets, event = told("agent")[-1]
    assert targets == sent.audience
    assert event.data["type"] == "run.completed"
    assert event.data["payload"] == {"content": "hi there", "usage": USAGE}
    assert event.data["_connection"] == "c-1"
    assert Announcement.objects.get(pk=announcement).event["data"]["type"] == "run.completed"
    last = run.session.messages(1)[0]
    assert (last["role"], last["content"]) == ("assistant", "hi there")


def test_a_failed_run_tells_why_and_keeps_what_was_said(say: Say, told: Any) -> None:
    sent = say("hello")
    _, answer = runs.finish(run_id=sent.run_id, status="failed", content="half", error="broken")
    assert answer == {"error": "broken"}
    event = told("agent")[-1][1]
    assert (event.data["type"], event.data["payload"]) == ("run.failed", {"error": "broken"})
    last = Session.objects.get().messages(1)[0]
    assert (last["content"], last["partial"]) == ("half", True)


def test_a_failed_run_that_said_nothing_stores_no_message(say: Say) -> None:
    runs.finish(run_id=say("hello").run_id, status="failed", error="broken")
    assert len(Session.objects.get().messages(9)) == 1


def test_a_cancelled_run_keeps_what_was_said(say: Say, told: Any) -> None:
    sent = say("slow 9")
    _, answer = runs.finish(run_id=sent.run_id, status="cancelled", content="1 2")
    assert answer == {"cancelled": True}
    event = told("agent")[-1][1]
    assert (event.data["type"], event.data["payload"]) == ("run.cancelled", {})
    stored = Run.objects.get().session.events.get(seq=2)
    assert (stored.kind, stored.content, stored.data["partial"]) == ("assistant", "1 2", True)


def test_a_cancelled_run_that_said_nothing_stores_nothing(say: Say) -> None:
    runs.finish(run_id=say("slow 9").run_id, status="cancelled")
    assert len(Session.objects.get().messages(9)) == 1


def test_usage_always_has_its_three_counts(say: Say) -> None:
    _, answer = runs.finish(run_id=say("hello").run_id, status="completed")
    assert answer["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def test_only_the_first_outcome_counts(say: Say, run_events: Any) -> None:
    sent = say("hello")
    first, _ = runs.finish(run_id=sent.run_id, status="cancelled")
    second, answer = runs.finish(run_id=sent.run_id, status="completed", content="late")
    assert answer == {"cancelled": True}
    assert second >= first
    assert run_events() == ["run.started", "run.cancelled"]
    assert len(Session.objects.get().messages(9)) == 1


def test_a_second_end_stores_no_second_message(say: Say, run_events: Any) -> None:
    sent = say("hello")
    _, answer = runs.finish(run_id=sent.run_id, status="completed", content="hi")
    assert runs.finish(run_id=sent.run_id, status="completed", content="late")[1] == answer
    assert [m["content"] for m in Session.objects.get().messages(9)] == ["hello", "hi"]
    assert run_events() == ["run.started", "run.completed"]


def test_the_answer_of_a_deleted_run_follows_its_cancellation(say: Say, alice: Principal) -> None:
    sent = say("slow 9")
    sessions.delete(principal=alice, key="s")
    announcement, answer = runs.finish(run_id=sent.run_id, status="cancelled")
    cancelled = [
        row.pk
        for row in Announcement.objects.all()
        if row.event["data"].get("type") == "run.cancelled"
    ]
    assert answer == {"cancelled": True}
    assert announcement >= cancelled[0]


def test_a_status_that_is_none_is_our_bug(say: Say) -> None:
    for status in ("running", "done"):
        with pytest.raises(ValueError, match=status):
            runs.finish(run_id=say("hello").run_id, status=status)


def test_a_result_is_there_once_the_run_has_ended(say: Say) -> None:
    sent = say("hello")
    assert runs.result(run_id=sent.run_id) is None
    _, answer = runs.finish(run_id=sent.run_id, status="completed", content="x")
    assert runs.result(run_id=sent.run_id) == answer
    assert runs.result(run_id=str(uuid.uuid4())) == {"cancelled": True}


def test_the_first_run_gives_the_session_its_title(say: Say, told: Any) -> None:
    sent = say("  what is\nthe weather " + "x" * 60)
    assert Session.objects.get().label == ""
    runs.finish(run_id=sent.run_id, status="completed", content="x")
    title = ("what is the weather " + "x" * 60)[:60]
    assert Session.objects.get().label == title
    [(targets, event)] = told("session.updated")
    assert targets == [addresses.user("default", "alice"), addresses.admins("default")]
    assert event.data == {"sessionKey": "s", "label": title, "userId": "alice"}


def test_the_second_run_and_a_chosen_label_leave_the_title_alone(
    say: Say, alice: Principal, told: Any
) -> None:
    runs.finish(run_id=say("first").run_id, status="completed")
    runs.finish(run_id=say("second").run_id, status="completed")
    assert Session.objects.get().label == "first"
    say("one", session_key="t")
    sessions.patch(principal=alice, key="t", label="mine")
    runs.finish(run_id=str(Run.objects.get(session__key="t").pk), status="completed")
    assert Session.objects.get(key="t").label == "mine"
    assert [event.data["label"] for _, event in told("session.updated")] == ["first", "mine"]


def test_a_chunk_waits_for_its_run_to_be_announced(say: Say) -> None:
    sent = say("hello", stream=True)
    chunk = runs.chunk(sent, "hel")
    assert chunk.after == sent.started_announcement
    assert (chunk.data["type"], chunk.data["payload"]) == ("chunk", {"content": "hel"})
    assert (chunk.data["runId"], chunk.data["sessionKey"]) == (sent.run_id, "s")


def test_another_attempt_is_told_as_a_chunk_is(say: Say) -> None:
    sent = say("hello")
    again = runs.retrying(sent, Retrying(2, 3))
    assert again.after == sent.started_announcement
    assert again.data["type"] == "run.retrying"
    assert again.data["payload"] == {"attempt": 2, "maxAttempts": 3}


def test_there_is_no_chunk_without_a_run() -> None:
    with pytest.raises(ValueError, match="no run"):
        runs.chunk(Sent(outcome="injected", session_key="s", agent_id="echo"), "x")


def test_the_runs_of_a_dead_process_fail(
    say: Say, dead_node: str, run_events: Any, told: Any
) -> None:
    lost = say("hello", session_key="lost", node=dead_node)
    kept = say("hello", session_key="kept")
    assert runs.fail_orphans() == 1
    assert runs.fail_orphans() == 0
    assert runs.result(run_id=lost.run_id) == {"error": "the server process ended"}
    assert runs.result(run_id=kept.run_id) is None
    assert run_events() == ["run.started", "run.started", "run.failed"]


def test_the_runs_of_a_process_that_left_fail(say: Say, node: str) -> None:
    say("hello")
    nodes.leave(node=node)
    assert runs.fail_orphans() == 1


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_of_parallel_ends_one_wins(say: Say, run_events: Any) -> None:
    run_id = say("hello").run_id
    statuses = ["completed", "failed", "cancelled", "completed"]

    def end(number: int) -> Any:
        text = f"by {number}"
        return runs.finish(run_id=run_id, status=statuses[number], content=text, error=text)[1]

    answers = in_threads(4, end)
    assert all(answer == answers[0] for answer in answers)
    assert len(run_events()) == 2
