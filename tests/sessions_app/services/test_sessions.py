from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from accounts.models import Account
from realtime.core import addresses
from realtime.core.errors import Conflict, InvalidParams, NotFound
from realtime.core.principal import Principal
from sessions_app.models import Run, Session, SessionEvent
from sessions_app.services import runs, sessions
from sessions_app.services.sent import Sent

Say = Callable[..., Sent]


@pytest.fixture
def several(accounts: None) -> None:
    """Two of alice's, one of bob's, and another account's alice's; s2 used last."""
    default, other = Account.objects.get(slug="default"), Account.objects.get(slug="other")
    for account, key, owner, agent in [
        (default, "s1", "alice", "default"),
        (default, "b1", "bob", "worker"),
        (other, "o1", "alice", "echo"),
        (default, "s2", "alice", "echo"),
    ]:
        Session.objects.create(account=account, key=key, owner=owner, agent=agent).append(
            kind="user", content="hi"
        )


def keys(principal: Principal, **fields: Any) -> list[str]:
    return [row["key"] for row in sessions.list_(principal=principal, **fields)["sessions"]]


@pytest.mark.parametrize(
    ("who", "seen"),
    [
        ("owner", ["s2", "s1"]),
        ("stranger", ["b1"]),
        ("admin", ["s2", "b1", "s1"]),
        ("other tenant's owner", ["o1"]),
        ("other tenant's admin", ["o1"]),
    ],
)
def test_a_list_shows_what_the_caller_may_see_last_used_first(
    several: None, people: dict[str, Principal], who: str, seen: list[str]
) -> None:
    answer = sessions.list_(principal=people[who])
    assert [row["key"] for row in answer["sessions"]] == seen
    assert (answer["total"], answer["limit"], answer["offset"]) == (len(seen), 20, 0)


def test_a_row_has_the_field_names_of_the_clients(several: None, alice: Principal) -> None:
    sessions.patch(principal=alice, key="s1", label="mine", metadata={"a": "b"})
    row, bare = sessions.list_(principal=alice)["sessions"]
    times = {row.pop("created")[-1], row.pop("updated")[-1]}
    assert times == {"Z"}
    assert row == {
        "key": "s1",
        "messageCount": 1,
        "channel": "ws",
        "userID": "alice",
        "agentName": "default",
        "label": "mine",
        "metadata": {"a": "b"},
    }
    assert {"label", "model", "metadata"}.isdisjoint(bare)


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ({"limit": 1}, ["s2"]),
        ({"limit": 1, "offset": 1}, ["b1"]),
        ({"offset": 9}, []),
        ({"limit": 0}, ["s2"]),
        ({"limit": -5, "offset": -5}, ["s2"]),
        ({"agent_id": "echo"}, ["s2", "s1"]),
        ({"agent_id": "default"}, ["s2", "s1"]),
        ({"agent_id": "worker"}, ["b1"]),
        ({"channel": "ws"}, ["s2", "b1", "s1"]),
        ({"channel": "telegram"}, []),
    ],
)
def test_a_list_is_paged_and_filtered(
    several: None, admin: Principal, fields: dict[str, Any], seen: list[str]
) -> None:
    assert keys(admin, **fields) == seen


def test_a_limit_is_held_at_two_hundred(several: None, alice: Principal) -> None:
    assert sessions.list_(principal=alice, limit=10**9)["limit"] == 200


def test_the_total_counts_beyond_the_page(several: None, admin: Principal) -> None:
    assert sessions.list_(principal=admin, limit=1, offset=5)["total"] == 3


def test_a_preview_shows_the_messages(alice: Principal, session: Session) -> None:
    preview = sessions.preview(principal=alice, key="s")
    assert [m["content"] for m in preview["messages"]] == ["hello", "hello back"]
    assert (preview["key"], preview["summary"]) == ("s", "")


def test_a_patch_changes_only_what_is_given(alice: Principal, session: Session, told: Any) -> None:
    assert sessions.patch(principal=alice, key="s", model="m-1") == {"ok": True, "key": "s"}
    assert told() == []
    sessions.patch(principal=alice, key="s", label="mine", metadata={"a": "1", "b": "2"})
    sessions.patch(principal=alice, key="s", metadata={"b": "3"})
    session.refresh_from_db()
    assert (session.model, session.label) == ("m-1", "mine")
    assert session.metadata == {"a": "1", "b": "3"}
    [(targets, event)] = told("session.updated")
    assert targets == [addresses.user("default", "alice"), addresses.admins("default")]
    assert event.data == {"sessionKey": "s", "label": "mine", "userId": "alice"}


def test_a_label_may_be_emptied(alice: Principal, session: Session) -> None:
    sessions.patch(principal=alice, key="s", label="mine")
    sessions.patch(principal=alice, key="s", label="")
    session.refresh_from_db()
    assert session.label == ""


@pytest.mark.parametrize(
    "fields",
    [
        {"label": "x" * 256},
        {"model": "x" * 256},
        {"metadata": {"x" * 256: ""}},
        {"metadata": {"x": "y" * 4097}},
        {"metadata": {str(number): "" for number in range(65)}},
    ],
)
def test_a_patch_that_is_too_big_is_refused(
    alice: Principal, session: Session, fields: dict[str, Any]
) -> None:
    with pytest.raises(InvalidParams):
        sessions.patch(principal=alice, key="s", **fields)
    session.refresh_from_db()
    assert (session.label, session.model, session.metadata) == ("", "", {})


@pytest.mark.parametrize(
    "service", [sessions.preview, sessions.patch, sessions.delete, sessions.reset]
)
def test_a_key_is_required(alice: Principal, service: Callable[..., Any]) -> None:
    with pytest.raises(InvalidParams, match="^key is required$"):
        service(principal=alice, key="")


def test_delete_leaves_nothing(say: Say, alice: Principal) -> None:
    runs.finish(run_id=say("hello").run_id, status="completed", content="x")
    assert sessions.delete(principal=alice, key="s") == {"ok": True}
    assert not Session.objects.exists()
    assert not SessionEvent.objects.exists()
    assert not Run.objects.exists()


def test_a_deleted_key_may_be_taken_by_somebody_else(
    say: Say, alice: Principal, bob: Principal, session: Session
) -> None:
    sessions.delete(principal=alice, key="s")
    say("mine now", principal=bob)
    assert [m["content"] for m in Session.objects.get().messages(9)] == ["mine now"]


@pytest.mark.parametrize("service", [sessions.delete, sessions.reset])
def test_an_active_run_is_cancelled_before_its_process_is_told(
    say: Say, alice: Principal, told: Any, service: Callable[..., Any]
) -> None:
    run_id = say("slow 9").run_id
    service(principal=alice, key="s")
    (_, cancelled), (targets, abort) = told()[-2:]
    assert (cancelled.data["type"], cancelled.data["runId"]) == ("run.cancelled", run_id)
    assert (abort.name, abort.data) == ("run.abort", {"run": run_id})
    assert targets == [addresses.node("node-1")]


def test_a_reset_empties_and_numbering_goes_on(say: Say, alice: Principal) -> None:
    runs.finish(run_id=say("hello", message_id="m").run_id, status="completed", content="x")
    assert sessions.reset(principal=alice, key="s") == {"ok": True}
    session = Session.objects.get()
    assert session.messages(9) == []
    assert say("hello", message_id="m").outcome == "started"
    assert session.events.get().seq == 4


def test_a_session_is_created_for_its_owner(alice: Principal) -> None:
    session = sessions.create(principal=alice, key="k", agent="default")
    assert (session.owner, session.agent, session.account.slug) == ("alice", "default", "default")


@pytest.mark.parametrize("who", ["owner", "stranger", "admin"])
def test_a_key_is_created_once(people: dict[str, Principal], session: Session, who: str) -> None:
    with pytest.raises(Conflict, match="session exists already: s"):
        sessions.create(principal=people[who], key="s", agent="echo")


def test_another_account_may_have_the_same_key(other_alice: Principal, session: Session) -> None:
    assert sessions.create(principal=other_alice, key="s", agent="echo") != session


@pytest.mark.parametrize(
    ("owner", "key", "agent", "error"),
    [
        ("", "k", "echo", InvalidParams),
        ("alice", "", "echo", InvalidParams),
        ("alice", "k" * 513, "echo", InvalidParams),
        ("a" * 256, "k", "echo", InvalidParams),
        ("alice", "k", "nobody", NotFound),
    ],
)
def test_a_session_without_its_parts_is_not_created(
    accounts: None, owner: str, key: str, agent: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        sessions.create(principal=Principal(id=owner), key=key, agent=agent)
    assert not Session.objects.exists()
