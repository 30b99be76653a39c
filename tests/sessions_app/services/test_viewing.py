"""Who may watch and speak in 002, where a viewer begins, and the log in pages."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from realtime.core.errors import GatewayError, NotFound, NotOwner, RoleTooLow
from realtime.core.principal import Principal
from sessions_app.agents import AgentFailed
from sessions_app.models import Session
from sessions_app.services import agent_choice, chat, talking, viewing
from tests.sessions_app.gate import everyone

SAID = {"type": "user", "uuid": "u-1", "message": {"role": "user", "content": "hi"}}


@pytest.mark.parametrize("by", ["public id", "key"])
@everyone
def test_the_gate_is_that_of_001(
    people: dict[str, Principal], session: Session, node: str, by: str, who: str, refusal: Any
) -> None:
    name = session.public_id if by == "public id" else session.key
    for ask in (
        lambda: viewing.watch(principal=people[who], session_id=name),
        lambda: viewing.read(principal=people[who], session_id=name, after_seq=0),
        lambda: talking.say(principal=people[who], node=node, session_id=name, frame=SAID),
    ):
        if refusal is None:
            assert ask()
        else:
            with pytest.raises(refusal):
                ask()


def test_a_key_that_looks_like_another_sessions_public_id_hides_nothing(
    alice: Principal, bob: Principal, session: Session
) -> None:
    Session.objects.create(account=session.account, key=session.public_id, owner="bob", agent="x")
    assert viewing.watch(principal=alice, session_id=session.public_id)["seq"] == 2
    with pytest.raises(NotOwner):
        viewing.watch(principal=bob, session_id=session.public_id)


@pytest.mark.parametrize(
    ("asked", "seq"),
    [
        ({}, 9),
        ({"replay": True}, 4),
        ({"after_id": "e-3"}, 3),
        ({"after_id": "e-3", "replay": True}, 3),
        ({"after_id": "never"}, 4),
        ({"after_id": "\x00"}, 4),
    ],
)
def test_where_a_viewer_begins(
    alice: Principal, session: Session, settings: Any, asked: dict[str, Any], seq: int
) -> None:
    settings.SESSION_REPLAY_MAX = 5
    for number in range(3, 10):
        session.append(kind="user", content="x", event_uuid=f"e-{number}")
    assert viewing.watch(principal=alice, session_id="s", **asked)["seq"] == seq


def test_the_log_comes_in_pages_bounded_by_number_and_size(
    alice: Principal, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewing, "PAGE_EVENTS", 2)
    session.append(kind="user", content="x" * viewing.PAGE_CHARACTERS)
    session.append(kind="user", content="four")
    pages, after = [], 0
    while True:
        page = viewing.read(principal=alice, session_id="s", after_seq=after)
        pages.append([seq for seq, _ in page["events"]])
        after = page["to"]
        if not page["more"]:
            break
    assert pages == [[1, 2], [3], [4]]
    assert after == 4


def test_a_page_of_a_log_of_long_events_takes_the_room_of_a_few(
    alice: Principal, session: Session
) -> None:
    long = "x" * 400_000
    for _ in range(40):
        session.append(kind="user", content=long)
    tracemalloc.start()
    try:
        page = viewing.read(principal=alice, session_id="s", after_seq=2)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(page["events"]), page["more"]) == (1, True)
    assert peak < 20 * len(long)


def test_numbers_whose_events_are_gone_are_passed_over(alice: Principal, session: Session) -> None:
    session.events.all().delete()
    page = viewing.read(principal=alice, session_id="s", after_seq=0)
    assert page == {"events": [], "to": 2, "more": False}


def test_what_is_said_is_stored_as_it_was_said_and_once(
    alice: Principal, session: Session, node: str
) -> None:
    blocks = [{"type": "text", "text": "a"}, {"type": "image", "source": {}}]
    frame = {**SAID, "extra": 1, "message": {"role": "user", "content": blocks}}
    for _ in range(2):
        talking.say(principal=alice, node=node, session_id="s", frame=frame, event_uuid="u-1")
    event = session.events.get(uuid="u-1")
    assert (event.content, event.author, event.seq) == ("a", "alice", 3)
    shown = viewing.read(principal=alice, session_id="s", after_seq=2)["events"]
    assert [(seq, one["message"]["content"], one["extra"]) for seq, one in shown] == [
        (3, blocks, 1)
    ]
    assert shown[0][1]["parent_tool_use_id"] is None


@pytest.mark.parametrize("claimed", [{}, {"role": "system"}, {"role": "assistant"}])
def test_a_viewer_speaks_as_a_user_whatever_it_claims(
    alice: Principal, session: Session, node: str, claimed: dict[str, str]
) -> None:
    frame = {"type": "user", "message": {"content": "hi", **claimed}}
    talking.say(principal=alice, node=node, session_id="s", frame=frame, event_uuid="u-1")
    kept = session.events.get(uuid="u-1").data["frame"]
    assert kept["message"] == {"content": "hi", "role": "user"}


def test_what_is_said_to_an_agent_that_is_gone_is_stored_and_its_turn_fails(
    alice: Principal, session: Session, node: str
) -> None:
    Session.objects.update(agent="gone")
    sent = talking.say(principal=alice, node=node, session_id="s", frame=SAID, event_uuid="u-1")
    assert (sent.outcome, sent.agent) == ("started", "gone")
    assert session.events.filter(uuid="u-1").exists()
    with pytest.raises(AgentFailed, match="agent not found: gone"):
        agent_choice.get(sent.agent)
    with pytest.raises(NotFound):  # 001 is told at once
        chat.send(principal=alice, node=node, session_key="s", message="hi")


def test_a_word_that_cancels_in_001_is_a_word_in_002(
    alice: Principal, session: Session, node: str
) -> None:
    say = {"principal": alice, "node": node, "session_id": "s"}
    talking.say(**say, frame=SAID, event_uuid="u-1")
    stop = {**SAID, "message": {"role": "user", "content": "stop"}}
    assert talking.say(**say, frame=stop, event_uuid="u-2").outcome == "injected"


@pytest.mark.parametrize(
    "weak",
    [
        {"role": "viewer"},
        {"role": "operator", "scopes": frozenset({"operator.approvals"})},
        {"role": "", "scopes": frozenset({"sessions.work"})},
    ],
)
def test_who_may_only_read_or_approve_says_nothing(
    session: Session, node: str, weak: dict[str, Any]
) -> None:
    reader = Principal(id="alice", account="default", **weak)
    with pytest.raises(RoleTooLow):
        talking.say(principal=reader, node=node, session_id="s", frame=SAID)
    assert issubclass(RoleTooLow, GatewayError)
