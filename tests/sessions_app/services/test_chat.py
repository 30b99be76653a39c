from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from realtime.core import addresses
from realtime.core.errors import InvalidParams, NotFound, NotOwner
from realtime.core.principal import Principal
from sessions_app.models import Run, Session
from sessions_app.services import chat, runs
from sessions_app.services.sent import Sent

Say = Callable[..., Sent]

NOTHING = {
    "ok": True,
    "aborted": False,
    "stopped": False,
    "forced": False,
    "alreadyAborting": False,
    "notFound": True,
    "unauthorized": False,
    "runIds": [],
}


def test_an_empty_key_has_no_history(alice: Principal) -> None:
    assert chat.history(principal=alice, session_key="") == {"messages": []}


def test_what_was_sent_is_in_the_history_once(say: Say, alice: Principal) -> None:
    sent = say("hello", message_id="m")
    say("hello", message_id="m")
    runs.finish(run_id=sent.run_id, status="completed", content="hello yourself")
    messages = chat.history(principal=alice, session_key="s")["messages"]
    assert [(m["role"], m["content"]) for m in messages] == [
        ("user", "hello"),
        ("assistant", "hello yourself"),
    ]


def test_a_history_is_never_another_sessions(alice: Principal, say: Say, session: Session) -> None:
    say("elsewhere", session_key="t")
    messages = chat.history(principal=alice, session_key="s")["messages"]
    assert [m["content"] for m in messages] == ["hello", "hello back"]


@pytest.mark.parametrize(
    ("label", "content"),
    [("", "note"), ("why", "[why]\n\nnote"), ("x" * 101, f"[{'x' * 100}]\n\nnote")],
)
def test_an_injected_message_is_the_assistants(
    alice: Principal, session: Session, label: str, content: str
) -> None:
    answer = chat.inject(principal=alice, session_key="s", message="note", label=label)
    last = session.messages(1)[0]
    assert answer == {"ok": True, "messageId": last["id"]}
    assert (last["role"], last["content"]) == ("assistant", content)
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"session_key": "", "message": "x"}, "sessionKey is required"),
        ({"session_key": "s", "message": " "}, "message is required"),
    ],
)
def test_nothing_is_not_injected(
    alice: Principal, session: Session, fields: dict[str, str], complaint: str
) -> None:
    with pytest.raises(InvalidParams, match=f"^{complaint}$"):
        chat.inject(principal=alice, **fields)


def test_an_abort_reaches_the_runs_process(say: Say, alice: Principal, told: Any) -> None:
    run_id = say("slow 9").run_id
    answer = chat.abort(principal=alice, session_key="s")
    assert answer == NOTHING | {
        "aborted": True,
        "stopped": True,
        "notFound": False,
        "runIds": [run_id],
    }
    [(targets, event)] = told("run.abort")
    assert (targets, event.data) == ([addresses.node("node-1")], {"run": run_id})


def test_an_abort_may_be_repeated(say: Say, alice: Principal, told: Any) -> None:
    run_id = say("slow 9").run_id
    chat.abort(principal=alice, session_key="s", run_id=run_id)
    again = chat.abort(principal=alice, session_key="s", run_id=run_id)
    assert again == NOTHING | {"alreadyAborting": True, "notFound": False, "runIds": [run_id]}
    assert len(told("run.abort")) == 1


def test_without_an_active_run_there_is_nothing_to_abort(
    say: Say, alice: Principal, session: Session
) -> None:
    assert chat.abort(principal=alice, session_key="s") == NOTHING
    runs.finish(run_id=say("hello").run_id, status="completed")
    assert chat.abort(principal=alice, session_key="s") == NOTHING


def test_a_foreign_run_id_looks_as_if_it_did_not_exist(
    say: Say, alice: Principal, bob: Principal, told: Any
) -> None:
    say("slow 9")
    foreign = say("slow 9", session_key="b", principal=bob).run_id
    for run_id in (foreign, "no-such-run"):
        assert chat.abort(principal=alice, session_key="s", run_id=run_id) == NOTHING
    assert told("run.abort") == []


@pytest.mark.parametrize("who", ["owner", "stranger", "other tenant's owner"])
def test_a_run_id_alone_is_refused_unless_an_admin_gives_it(
    say: Say, people: dict[str, Principal], who: str
) -> None:
    run_id = say("slow 9").run_id
    with pytest.raises(InvalidParams, match="^sessionKey is required$"):
        chat.abort(principal=people[who], run_id=run_id)


def test_an_admin_may_name_only_the_run(say: Say, admin: Principal) -> None:
    run_id = say("slow 9").run_id
    assert chat.abort(principal=admin, run_id=run_id)["runIds"] == [run_id]


@pytest.mark.parametrize("run_id", ["", "no-such-run", "0193a5b0-7000-7000-8000-000000000001"])
def test_an_admin_who_names_no_run_aborts_none(admin: Principal, run_id: str) -> None:
    if run_id:
        assert chat.abort(principal=admin, run_id=run_id) == NOTHING
    else:
        with pytest.raises(InvalidParams):
            chat.abort(principal=admin)


def test_another_accounts_run_does_not_exist_for_an_admin(say: Say, other_admin: Principal) -> None:
    assert chat.abort(principal=other_admin, run_id=say("slow 9").run_id) == NOTHING


def test_the_status_names_the_active_run(say: Say, alice: Principal) -> None:
    run_id = say("slow 9").run_id
    thinking = {"phase": "thinking", "tool": "", "iteration": 0}
    status = {"isRunning": True, "runId": run_id, "activity": thinking}
    assert chat.status(principal=alice, session_key="s") == status
    chat.abort(principal=alice, session_key="s")
    assert chat.status(principal=alice, session_key="s")["activity"]["phase"] == "stopping"


def test_the_status_of_an_idle_session_has_no_activity(alice: Principal, session: Session) -> None:
    status = chat.status(principal=alice, session_key="s")
    assert status == {"isRunning": False, "runId": "", "activity": None}


def test_a_status_needs_a_key(alice: Principal) -> None:
    with pytest.raises(InvalidParams, match="sessionKey is required"):
        chat.status(principal=alice, session_key="")


def test_a_deleted_session_is_gone_for_the_stranger_too(
    alice: Principal, bob: Principal, session: Session
) -> None:
    with pytest.raises(NotOwner):
        chat.history(principal=bob, session_key="s")
    session.delete()
    with pytest.raises(NotFound):
        chat.history(principal=bob, session_key="s")
