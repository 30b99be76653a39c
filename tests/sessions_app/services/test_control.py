"""What a viewer asks is answered once; who asks again gets the same answer. PROTOCOLS.md 3.4."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from realtime.core import addresses
from realtime.core.errors import InvalidParams, ResourceExhausted, RoleTooLow
from realtime.core.principal import Principal
from sessions_app.models import ControlRequest, Run, Session
from sessions_app.services import control, presence, workers
from sessions_app.services.sent import Sent
from tests.sessions_app.gate import strangers
from tests.sessions_app.worker import WORKER, hold, question, says

Say = Callable[..., Sent]


def ask(who: Principal, request_id: str = "c-1", subtype: str = "interrupt", **more: Any) -> Any:
    connection = more.pop("connection", "v-1")
    answered = control.ask(
        principal=who,
        session_id="s",
        request_id=request_id,
        request={"subtype": subtype, **more},
        connection=connection,
    )
    return answered["frame"]


def test_initialize_is_answered_at_once_without_a_worker(
    alice: Principal, session: Session
) -> None:
    frame = ask(alice, subtype="initialize", hooks={})
    assert frame["type"] == "control_response"
    assert frame["session_id"] == session.public_id
    assert frame["created_at"].endswith("Z")
    inner = frame["response"]
    assert (inner["subtype"], inner["request_id"]) == ("success", "c-1")
    assert inner["response"].pop("pid") > 0
    assert inner["response"] == {
        "account": {},
        "available_output_styles": ["normal"],
        "commands": [],
        "models": [],
        "output_style": "normal",
        "pending_permission_requests": [],
    }


@pytest.mark.parametrize(
    "request_",
    [
        {"subtype": "interrupt"},
        {"subtype": "set_permission_mode", "mode": "plan"},
        {"subtype": "set_model", "model": "big"},
        {"subtype": "set_max_thinking_tokens", "max_thinking_tokens": 1},
        {"subtype": "mcp_status"},
        {"subtype": "end_session"},
    ],
)
@pytest.mark.parametrize("worked", [False, True])
def test_what_is_known_succeeds_and_is_passed_to_the_worker(
    alice: Principal,
    worker: Principal,
    session: Session,
    told: Any,
    node: str,
    request_: dict[str, Any],
    worked: bool,
) -> None:
    if worked:
        hold(worker, node)
    frame = ask(alice, **request_)
    assert frame["response"] == {"subtype": "success", "request_id": "c-1", "response": {}}
    passed = [event.data["frame"]["request"] for _, event in told("session.work")]
    if worked:
        assert request_ in passed
        assert len([one for one in passed if one["subtype"] == "interrupt"]) <= 1


def test_a_model_is_the_sessions_from_then_on(alice: Principal, session: Session) -> None:
    ask(alice, subtype="set_model", model="big")
    session.refresh_from_db()
    assert session.model == "big"
    ask(alice, "c-2", subtype="set_model", model=None)
    session.refresh_from_db()
    assert session.model == ""
    with pytest.raises(InvalidParams):
        ask(alice, "c-3", subtype="set_model", model="x" * 256)
    assert not ControlRequest.objects.filter(request_id="c-3").exists()


def test_what_was_set_holds_for_a_worker_that_comes_later(
    alice: Principal, worker: Principal, node: str, session: Session
) -> None:
    ask(alice, "c-1", "set_permission_mode", mode="plan", more=["not", "kept"])
    ask(alice, "c-2", "set_max_thinking_tokens", max_thinking_tokens=1024)
    ask(alice, "c-3", "set_model", model="big")
    ask(alice, "c-4", "set_permission_mode", mode="acceptEdits")
    frames = hold(worker, node)["frames"]
    assert [one["request"] for one in frames] == [
        {"subtype": "set_model", "model": "big"},
        {"subtype": "set_max_thinking_tokens", "max_thinking_tokens": 1024},
        {"subtype": "set_permission_mode", "mode": "acceptEdits"},
    ]
    for one in frames:
        assert (one["type"], one["session_id"]) == ("control_request", session.public_id)
        says(worker, {"type": "control_response", "response": {"request_id": one["request_id"]}})
    ask(alice, "c-5", "set_max_thinking_tokens", max_thinking_tokens=None)
    assert len(hold(worker, node, "w-2")["frames"]) == 2


@pytest.mark.parametrize("mode", [{}, ["plan"], "m" * 256])
def test_a_setting_of_another_kind_is_refused(
    alice: Principal, session: Session, mode: Any
) -> None:
    with pytest.raises(InvalidParams, match="mode"):
        ask(alice, subtype="set_permission_mode", mode=mode)


def test_an_interrupt_stops_a_run_that_001_began(
    alice: Principal, session: Session, say: Say, told: Any
) -> None:
    sent = say("slow 60")
    ask(alice)
    assert told("run.abort")[-1][1].data == {"run": sent.run_id}
    assert Run.objects.get().abort_requested_at is not None


def test_what_nobody_knows_is_refused_without_a_worker(alice: Principal, session: Session) -> None:
    frame = ask(alice, subtype="rewind_files")
    assert frame["response"] == {
        "subtype": "error",
        "request_id": "c-1",
        "error": "Unsupported control request subtype: rewind_files",
    }


def test_a_request_that_comes_again_gets_its_answer_and_does_nothing(
    alice: Principal, session: Session, say: Say, told: Any
) -> None:
    say("slow 60")
    first = ask(alice)
    Run.objects.update(abort_requested_at=None)
    assert ask(alice, connection="v-2") == first
    assert len(told("run.abort")) == 1
    assert ControlRequest.objects.count() == 1


def test_an_id_that_was_used_for_something_else_is_refused(
    alice: Principal, session: Session
) -> None:
    ask(alice)
    frame = ask(alice, subtype="set_model", model="big")
    assert frame["response"]["subtype"] == "error"
    session.refresh_from_db()
    assert session.model == ""


def test_what_the_worker_answers_goes_to_where_it_was_asked_last(
    alice: Principal, worker: Principal, session: Session, node: str, told: Any
) -> None:
    hold(worker, node)
    assert ask(alice, subtype="get_settings") is None
    assert ask(alice, subtype="get_settings", connection="v-2") is None
    response = {"subtype": "success", "request_id": "c-1", "response": {"a": 1}}
    for _ in range(2):
        workers.say(
            principal=worker,
            session_id="s",
            connection=WORKER,
            frame={"type": "control_response", "response": response},
        )
    [(targets, event)] = told("session.answer")
    assert targets == [addresses.connection("v-2")]
    assert event.data["frame"]["response"] == response
    assert ask(alice, subtype="get_settings")["response"] == response


def test_over_http_the_answer_is_told_to_all_who_watch(
    alice: Principal, session: Session, told: Any
) -> None:
    ask(alice, connection="")
    [(targets, event)] = told("session.said")
    assert targets == [addresses.session("default", session.public_id)]
    assert event.data["frame"]["response"]["request_id"] == "c-1"


def test_what_a_worker_does_not_answer_before_it_goes_is_answered_for_it(
    alice: Principal, worker: Principal, session: Session, node: str, told: Any
) -> None:
    hold(worker, node)
    ask(alice, subtype="get_settings")
    workers.released(connection=WORKER)
    [(_, event)] = told("session.answer")
    assert event.data["frame"]["response"]["error"] == "the worker has gone"


def test_what_a_killed_process_left_unanswered_is_answered_by_another(
    alice: Principal, worker: Principal, session: Session, node: str, told: Any
) -> None:
    hold(worker, node)
    ask(alice, subtype="get_settings")
    presence.depart(connection=WORKER)
    workers.sweep()
    assert told("session.answer")[-1][1].data["frame"]["response"]["subtype"] == "error"


def test_a_request_may_be_taken_back(
    alice: Principal, worker: Principal, session: Session, node: str, told: Any
) -> None:
    hold(worker, node)
    ask(alice, subtype="get_settings")
    for _ in range(2):
        control.cancel(principal=alice, session_id="s", request_id="c-1")
    kinds = [event.data["frame"]["type"] for _, event in told("session.work")]
    assert kinds == ["control_request", "control_cancel_request"]
    assert ask(alice, subtype="get_settings")["response"]["error"] == "the request was cancelled"


@strangers
def test_nobody_else_steers(
    people: dict[str, Principal], session: Session, who: str, refusal: type[Exception]
) -> None:
    for subtype in ("initialize", "interrupt"):
        with pytest.raises(refusal):
            ask(people[who], subtype=subtype)
    with pytest.raises(refusal):
        control.cancel(principal=people[who], session_id="s", request_id="c-1")


def test_who_only_reads_may_initialize_and_no_more(session: Session) -> None:
    reader = Principal(id="alice", account="default", role="viewer")
    assert ask(reader, subtype="initialize")
    with pytest.raises(RoleTooLow):
        ask(reader, "c-2", subtype="interrupt")


def test_who_asks_without_end_fills_no_database(
    alice: Principal, session: Session, monkeypatch: Any
) -> None:
    monkeypatch.setattr(control, "KEEP_MOST", 3)
    other = Session.objects.create(account=session.account, key="other", owner="alice")
    other.requests.create(asker="viewer", request_id="old", status="answered", asked_by="alice")
    for number in range(6):
        ask(alice, f"c-{number}", subtype="mcp_status")
    asked = session.requests.order_by("pk").values_list("request_id", flat=True)
    assert list(asked) == ["c-3", "c-4", "c-5"]
    assert other.requests.count() == 1


def test_a_worker_that_answers_nothing_is_not_asked_without_end(
    alice: Principal, worker: Principal, node: str, session: Session, monkeypatch: Any
) -> None:
    monkeypatch.setattr(control, "MOST_WAITING", 2)
    hold(worker, node)
    for number in range(2):
        assert ask(alice, f"c-{number}", subtype="get_settings") is None
    with pytest.raises(ResourceExhausted):
        ask(alice, "c-2", subtype="get_settings")
    assert ask(alice, "c-1", subtype="get_settings") is None  # it waits already
    assert ask(alice, "c-3", subtype="interrupt") is not None


def test_answers_are_forgotten_after_a_week_and_questions_are_not(
    alice: Principal, worker: Principal, session: Session, node: str
) -> None:
    hold(worker, node)
    says(worker, question())
    ask(alice)
    ask(alice, "c-2", subtype="get_settings")
    assert control.forget() == 0
    ControlRequest.objects.update(created_at=timezone.now() - dt.timedelta(days=8))
    assert control.forget() == 1
    assert set(ControlRequest.objects.values_list("request_id", flat=True)) == {"c-2", "q-1"}
