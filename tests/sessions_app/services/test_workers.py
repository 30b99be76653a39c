"""One worker at a time serves a session; its turns are runs, which end once, whatever happens."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from realtime.core.errors import Replaced
from realtime.core.principal import Principal
from sessions_app.models import Presence, Run, Session
from sessions_app.services import chat, nodes, presence, questions, runs, viewing, workers
from sessions_app.services.sent import Sent
from tests.sessions_app.gate import strangers
from tests.sessions_app.worker import WORKER, arrive, hold, question, result, says, words

Say = Callable[..., Sent]


@pytest.fixture
def held(worker: Principal, node: str, session: Session) -> Session:
    hold(worker, node)
    session.refresh_from_db()
    return session


def work_of(alice: Principal, after: int = 0) -> list[str]:
    page = viewing.read(principal=alice, session_id="s", after_seq=after, work=True)
    return [frame["message"]["content"] for _, frame in page["events"]]


def test_a_message_goes_to_the_worker_whatever_agent_the_session_has(
    held: Session, say: Say, alice: Principal, told: Any
) -> None:
    sent = say("do it", agent_id="echo", stream=True)
    assert (sent.outcome, sent.agent, sent.agent_id) == ("handed", "worker", "echo")
    assert Run.objects.get().node == "node-1"
    assert work_of(alice) == ["do it"]
    event = told("session.logged")[-1][1]
    assert event.data["work"]["runId"] == sent.run_id
    assert (event.data["work"]["_stream"], event.data["work"]["_account"]) == (True, "default")
    assert say("and this").outcome == "injected"
    assert work_of(alice) == ["do it", "and this"]
    assert told("session.logged")[-1][1].data["work"] == {}


def test_a_turn_ends_with_the_workers_result_and_is_answered_in_001(
    held: Session, say: Say, alice: Principal, worker: Principal, run_events: Any
) -> None:
    sent = say("do it")
    says(worker, words("half", "a-1"))
    outcome = says(worker, words("done", "a-2"))
    assert outcome["run"]["runId"] == sent.run_id
    assert outcome["after"] > 0
    ended = says(worker, result("done", "r-1", usage={"input_tokens": 3, "output_tokens": 4}))
    assert ended["run"] is None
    answer = runs.result(run_id=sent.run_id)
    assert answer == {
        "runId": sent.run_id,
        "content": "done",
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }
    assert run_events() == ["run.started", "run.completed"]
    history = chat.history(principal=alice, session_key="s")["messages"]
    assert [m["content"] for m in history[2:]] == ["do it", "half", "done"]
    assert held.events.order_by("-seq").first().uuid == "r-1"


def test_a_result_without_words_is_what_was_said_last(
    held: Session, say: Say, worker: Principal
) -> None:
    sent = say("do it")
    says(worker, words("first"))
    says(worker, words("last"))
    says(worker, {"type": "result", "usage": "odd"})
    answer = runs.result(run_id=sent.run_id)
    assert answer is not None
    assert (answer["content"], answer["usage"]["total_tokens"]) == ("last", 0)


def test_a_result_that_is_an_error_fails_the_run_and_after_an_abort_cancels_it(
    held: Session, say: Say, alice: Principal, worker: Principal, told: Any
) -> None:
    first = say("do it")
    says(worker, result("broken", is_error=True))
    assert runs.result(run_id=first.run_id) == {"error": "broken"}
    second = say("again")
    assert chat.abort(principal=alice, session_key="s")["aborted"]
    [(_, event)] = told("session.work")
    assert event.data["frame"]["request"] == {"subtype": "interrupt"}
    says(worker, result(is_error=True, subtype="error_during_execution"))
    assert runs.result(run_id=second.run_id) == {"cancelled": True}


def test_what_the_worker_says_twice_is_stored_once(held: Session, worker: Principal) -> None:
    for _ in range(2):
        says(worker, words("hi", "a-1"))
    assert held.events.filter(uuid="a-1").count() == 1


def test_what_has_no_words_is_no_message_of_001(
    held: Session, alice: Principal, worker: Principal
) -> None:
    used = [{"type": "tool_use", "id": "t", "name": "Bash", "input": {}}]
    got = [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]
    says(worker, {"type": "assistant", "message": {"content": used}})
    says(worker, {"type": "user", "message": {"content": got}})
    says(worker, {"type": "system", "subtype": "init"})
    assert len(chat.history(principal=alice, session_key="s")["messages"]) == 2
    page = viewing.read(principal=alice, session_id="s", after_seq=2)
    assert [frame["type"] for _, frame in page["events"]] == ["assistant", "user", "system"]


@pytest.mark.parametrize("message", ["x", None, [1], {"content": 5}, {"content": [1, {}]}])
def test_a_message_of_a_strange_shape_is_kept_as_it_is(
    held: Session, worker: Principal, message: Any
) -> None:
    says(worker, {"type": "system", "uuid": "s-1", "message": message})
    kept = held.events.get(uuid="s-1")
    assert (kept.content, kept.data["frame"]["message"]) == ("", message)


def test_the_newer_worker_holds_and_the_older_has_nothing_to_say(
    held: Session, worker: Principal, node: str, told: Any
) -> None:
    hold(worker, node, "w-2")
    assert [event.data for _, event in told("session.held")][-1] == {"connection": "w-2"}
    with pytest.raises(Replaced):
        says(worker, words("late"))
    workers.released(connection=WORKER)
    held.refresh_from_db()
    assert (held.worker, held.worker_left_at) == ("w-2", None)


def test_a_worker_that_was_slow_to_hold_does_not_undo_a_newer_one(
    worker: Principal, node: str, session: Session
) -> None:
    arrive(worker, node, "w-old")
    Presence.objects.update(since=timezone.now() - dt.timedelta(seconds=5))
    hold(worker, node, "w-new")
    with pytest.raises(Replaced):
        workers.hold(principal=worker, node=node, session_id="s", connection="w-old")


@strangers
def test_nobody_else_works_a_session(
    people: dict[str, Principal], session: Session, node: str, who: str, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        hold(people[who], node)
    with pytest.raises(refusal):
        says(people[who], words("hi"))


def test_with_agent_worker_messages_wait_and_are_one_turn_when_it_comes(
    say: Say, alice: Principal, worker: Principal, session: Session, node: str, run_events: Any
) -> None:
    Session.objects.update(agent="worker")
    assert say("one").result == {"injected": True}
    assert say("one", message_id="m").outcome == "injected"
    assert say("one", message_id="m").outcome == "injected"
    assert run_events() == []
    found = hold(worker, node)
    assert work_of(alice, found["seq"]) == ["one", "one"]
    assert run_events() == ["run.started"]
    says(worker, result("done"))
    assert run_events() == ["run.started", "run.completed"]
    assert hold(worker, node, "w-2")["run"] is None
    assert run_events() == ["run.started", "run.completed"]


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ({}, ["two", "three"]),
        ({"after_id": "u-2"}, ["three"]),
        ({"after_id": "no"}, ["two", "three"]),
    ],
)
def test_a_worker_begins_behind_the_last_turn_or_what_it_has_seen(
    held: Session,
    say: Say,
    alice: Principal,
    worker: Principal,
    node: str,
    fields: dict[str, str],
    seen: list[str],
) -> None:
    say("one")
    says(worker, result())
    say("two", event_uuid="u-2", frame={"type": "user", "message": {"content": "two"}})
    say("three")
    found = hold(worker, node, "w-2", **fields)
    assert work_of(alice, found["seq"]) == seen


def test_what_the_worker_had_not_taken_before_its_result_begins_the_next_turn(
    held: Session, say: Say, alice: Principal, worker: Principal, node: str, run_events: Any
) -> None:
    first = say("one")
    for text in ("two", "three"):
        assert say(text).outcome == "injected"
    told = held.events.get(content="two").seq
    outcome = says(worker, result(), told=told)
    assert outcome["run"]["runId"] not in ("", first.run_id)
    assert run_events() == ["run.started", "run.completed", "run.started"]
    found = hold(worker, node, "w-2")
    assert work_of(alice, found["seq"]) == ["three"]
    assert found["run"]["runId"] == outcome["run"]["runId"]
    assert says(worker, result(), "w-2", told=found["seq"])["run"] is None
    assert work_of(alice, hold(worker, node, "w-3")["seq"]) == []


def test_a_worker_may_name_the_last_message_that_its_result_is_about(
    held: Session, say: Say, alice: Principal, worker: Principal, node: str
) -> None:
    say("one")
    for text in ("two", "three"):
        say(text, event_uuid=f"u-{text}", frame={"type": "user", "message": {"content": text}})
    newest = held.events.order_by("-seq")[0].seq
    assert says(worker, result(after_id="u-two"), told=newest)["run"] is not None
    assert work_of(alice, hold(worker, node, "w-2")["seq"]) == ["three"]
    assert says(worker, result(after_id="u-three"), "w-2", told=newest)["run"] is None
    assert work_of(alice, hold(worker, node, "w-3")["seq"]) == []


def test_a_result_that_is_said_again_on_a_new_socket_is_about_its_turn(
    held: Session, say: Say, worker: Principal, node: str
) -> None:
    say("one")
    hold(worker, node, "w-2")
    assert says(worker, result(), "w-2", told=0)["run"] is None


def test_a_turn_goes_on_when_its_worker_is_back_in_time(
    held: Session, say: Say, worker: Principal, node: str, dead_node: str
) -> None:
    sent = say("do it")
    workers.released(connection=WORKER)
    presence.depart(connection=WORKER)
    assert workers.sweep() == 0
    age(Run, started_at=True)
    assert runs.fail_strays(node=node, active=[]) == 0
    Run.objects.update(node=dead_node)
    assert runs.fail_orphans() == 0
    assert say("more").outcome == "injected"
    assert hold(worker, node, "w-2")["run"]["runId"] == sent.run_id
    age(Session, worker_left_at=True)
    assert workers.sweep() == 0


def test_a_turn_that_was_stopped_while_no_worker_was_there_is_stopped_when_one_is(
    held: Session, say: Say, alice: Principal, worker: Principal, node: str
) -> None:
    say("do it")
    workers.released(connection=WORKER)
    chat.abort(principal=alice, session_key="s")
    [frame] = hold(worker, node, "w-2")["frames"]
    assert frame["request"] == {"subtype": "interrupt"}


def age(model: Any, **fields: bool) -> None:
    """As if it had been an hour ago, where it has been."""
    for name in fields:
        long_ago = timezone.now() - dt.timedelta(hours=1)
        model.objects.exclude(**{name: None}).update(**{name: long_ago})


@pytest.mark.parametrize("how", ["its socket ended", "its process was killed"])
def test_a_turn_whose_worker_is_gone_fails_after_a_while(
    held: Session, say: Say, worker: Principal, told: Any, run_events: Any, how: str
) -> None:
    sent = say("do it")
    says(worker, question())
    if how == "its socket ended":
        workers.released(connection=WORKER)
    presence.depart(connection=WORKER)
    assert workers.sweep() == 0
    age(Session, worker_left_at=True)
    assert workers.sweep() == 1
    assert runs.result(run_id=sent.run_id) == {"error": "the worker has gone"}
    assert run_events() == ["run.started", "run.failed"]
    assert told("session.logged")[-1][1].data["frame"]["result"] == "the worker has gone"
    assert questions.pending(held) == []
    assert say("echo this").outcome == "started"


def test_a_process_that_was_silent_for_a_moment_has_its_worker_still(
    held: Session, say: Say, node: str
) -> None:
    say("do it")
    for lease_s in (-1, 60):
        nodes.renew(node=node, host="here", pid=1, lease_s=lease_s)
        assert workers.sweep() == 0
    age(Session, worker_left_at=True)
    nodes.renew(node=node, host="here", pid=1, lease_s=-1)
    assert workers.sweep() == 0, "another silence begins anew"


def test_a_worker_that_does_not_stop_is_not_waited_for(
    held: Session, say: Say, alice: Principal, worker: Principal
) -> None:
    sent = say("do it")
    chat.abort(principal=alice, session_key="s")
    assert workers.sweep() == 0
    age(Run, abort_requested_at=True)
    assert workers.sweep() == 1
    assert runs.result(run_id=sent.run_id) == {"cancelled": True}
    says(worker, words("late"))
    says(worker, result("late"))
    assert runs.result(run_id=sent.run_id) == {"cancelled": True}
