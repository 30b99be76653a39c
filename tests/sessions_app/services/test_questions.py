"""A worker's questions wait for a person, whatever restarts; the first answer counts."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry

from accounts.models import User
from realtime.core.errors import RoleTooLow
from realtime.core.principal import Principal
from sessions_app.models import ControlRequest, Session
from sessions_app.services import questions, workers
from tests.sessions_app.gate import strangers
from tests.sessions_app.worker import WORKER, hold, question, result, says

ALLOW = {"subtype": "success", "request_id": "q-1", "response": {"behavior": "allow"}}
DENY = {"subtype": "success", "response": {"behavior": "deny", "message": "no"}}


@pytest.fixture
def asked(worker: Principal, node: str, session: Session) -> Session:
    hold(worker, node)
    says(worker, question())
    return session


def answer(who: Principal, response: Any = ALLOW, **more: Any) -> bool:
    asked = {"principal": who, "session_id": "s", "request_id": "q-1", "response": response}
    return bool(questions.answer(**asked, **more)["taken"])


def said(told: Any) -> list[tuple[str, str, str]]:
    """Type and what matters of what all viewers are told, and whom it leaves out."""
    frames = [(event.data["frame"], event.data["but"]) for _, event in told("session.said")]
    return [(one["type"], one.get("status") or one["request_id"], but) for one, but in frames]


def test_a_question_is_told_to_who_watches_and_asks_for_action(asked: Session, told: Any) -> None:
    assert said(told) == [
        ("control_request", "q-1", ""),
        ("session_status", "requires_action", ""),
    ]
    frame = told("session.said")[0][1].data["frame"]
    assert frame["request"] == question()["request"]
    assert {"uuid", "session_id", "created_at"} <= set(frame)
    assert [one["request_id"] for one in questions.pending(asked)] == ["q-1"]
    assert questions.status(asked) == "requires_action"


def test_the_first_answer_counts_and_the_others_hear_that_it_is_settled(
    asked: Session, alice: Principal, admin: Principal, told: Any
) -> None:
    assert answer(admin, connection="v-2")
    assert not answer(alice, DENY, connection="v-1")
    [(_, event)] = told("session.work")
    assert event.data["frame"]["response"] == ALLOW
    assert said(told)[2:] == [
        ("control_cancel_request", "q-1", "v-2"),
        ("session_status", "idle", ""),
    ]
    row = ControlRequest.objects.get()
    assert (row.status, row.decided_by) == ("answered", "root")


@strangers
def test_nobody_else_answers(
    asked: Session, people: dict[str, Principal], who: str, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        answer(people[who])
    assert ControlRequest.objects.get().status == "pending"


@pytest.mark.parametrize(
    ("role", "scopes", "may"),
    [
        ("viewer", [], False),
        ("operator", ["operator.write"], False),
        ("operator", ["operator.approvals"], True),
        ("operator", ["operator.admin"], True),
        ("", ["sessions.work"], False),
    ],
)
def test_the_scope_for_approvals_is_what_it_takes(
    asked: Session, role: str, scopes: list[str], may: bool
) -> None:
    who = Principal(id="alice", account="default", role=role, scopes=frozenset(scopes))
    if may:
        assert answer(who)
    else:
        with pytest.raises(RoleTooLow):
            answer(who)


def test_every_decision_is_in_the_journal(asked: Session, alice: Principal) -> None:
    user = User.objects.create(username="alice")
    user.memberships.create(account=asked.account, role="operator")
    person = Principal(id="alice", account="default", role="operator", via="session")
    assert answer(person, DENY)
    entry = LogEntry.objects.get()
    assert (entry.user, entry.change_message) == (user, "denied by alice (session)")
    assert entry.object_repr == "Bash (q-1)"


def test_an_answer_to_nothing_is_of_no_effect(session: Session, alice: Principal) -> None:
    assert not answer(alice)


def test_a_question_outlives_its_workers_socket_and_the_answer_waits_for_it(
    asked: Session, alice: Principal, worker: Principal, node: str
) -> None:
    workers.released(connection=WORKER)
    assert questions.pending(asked)
    answer(alice)
    again = hold(worker, node, "w-2")
    assert [frame["response"] for frame in again["frames"]] == [ALLOW]
    says(worker, result(), "w-2")
    assert hold(worker, node, "w-3")["frames"] == []


def test_a_question_asked_again_is_one_and_gets_the_answer_it_had(
    asked: Session, alice: Principal, worker: Principal, told: Any
) -> None:
    says(worker, question())
    assert ControlRequest.objects.count() == 1
    assert len(said(told)) == 2
    answer(alice)
    says(worker, question())
    assert [event.data["frame"]["response"] for _, event in told("session.work")] == [ALLOW, ALLOW]


@pytest.mark.parametrize(
    "ending",
    [
        {"type": "control_cancel_request", "request_id": "q-1"},
        result(),
    ],
)
def test_a_question_that_is_withdrawn_or_whose_turn_is_over_is_open_no_more(
    asked: Session, worker: Principal, alice: Principal, told: Any, ending: dict[str, Any]
) -> None:
    says(worker, ending)
    assert ("control_cancel_request", "q-1", "") in said(told)
    assert not answer(alice)
    assert questions.pending(asked) == []
