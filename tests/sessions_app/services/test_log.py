"""One log serves 001 and 002: each event is announced once, in order, in the frame of 002."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from realtime.core import addresses
from realtime.core.principal import Principal
from sessions_app.models import Session, SessionEvent
from sessions_app.services import chat, compaction, log, runs, session_frames, sessions
from sessions_app.services.sent import Sent

Say = Callable[..., Sent]
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def frames(told: Any) -> list[dict[str, Any]]:
    return [event.data["frame"] for _, event in told("session.logged")]


def test_whatever_001_stores_is_announced_to_the_session_in_its_order(
    say: Say, alice: Principal, told: Any
) -> None:
    sent = say("hello")
    say("one more")
    chat.inject(principal=alice, session_key="s", message="by hand")
    runs.finish(run_id=sent.run_id, status="completed", content="hi", usage=USAGE)
    session = Session.objects.get()
    facts = told("session.logged")
    assert {str(targets) for targets, _ in facts} == {
        str([addresses.session("default", session.public_id)])
    }
    assert [event.data["seq"] for _, event in facts] == [1, 2, 3, 4, 5]
    kinds = [(frame["type"], frame.get("message", {}).get("content")) for frame in frames(told)]
    assert kinds == [
        ("user", "hello"),
        ("user", "one more"),
        ("assistant", [{"type": "text", "text": "by hand"}]),
        ("assistant", [{"type": "text", "text": "hi"}]),
        ("result", None),
    ]


def test_every_frame_says_what_it_is_whose_and_when(say: Say, told: Any) -> None:
    runs.finish(run_id=say("hello").run_id, status="completed", content="hi", usage=USAGE)
    session = Session.objects.get()
    for frame, event in zip(frames(told), session.events.order_by("seq"), strict=True):
        assert frame == session_frames.stored(event, session)
        assert (frame["uuid"], frame["session_id"]) == (event.uuid, session.public_id)
        assert frame["created_at"].endswith("Z")


def test_a_user_frame_and_an_assistant_frame_have_the_shapes_of_the_protocol(
    say: Say, told: Any
) -> None:
    runs.finish(run_id=say("hello").run_id, status="completed", content="hi", usage=USAGE)
    user, assistant, _ = [session_frames.bare(frame) for frame in frames(told)]
    assert user == {
        "type": "user",
        "parent_tool_use_id": None,
        "message": {"role": "user", "content": "hello"},
    }
    assert assistant["message"].pop("id").startswith("msg_")
    assert assistant == {
        "type": "assistant",
        "parent_tool_use_id": None,
        "message": {
            "type": "message",
            "role": "assistant",
            "model": "echo",
            "content": [{"type": "text", "text": "hi"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 2},
        },
    }


@pytest.mark.parametrize(
    ("ending", "told_as"),
    [
        ({"status": "completed", "content": "hi"}, ("success", False, "hi", "end_turn")),
        (
            {"status": "failed", "error": "broken"},
            ("error_during_execution", True, "broken", None),
        ),
        (
            {"status": "cancelled"},
            ("error_during_execution", True, "the run was cancelled", None),
        ),
    ],
)
def test_a_turn_ends_with_its_result_however_it_ends(
    say: Say, told: Any, ending: dict[str, Any], told_as: tuple[Any, ...]
) -> None:
    runs.finish(run_id=say("hello").run_id, **ending)
    *_, result = frames(told)
    shown = result["subtype"], result["is_error"], result["result"], result["stop_reason"]
    assert shown == told_as
    assert {"duration_ms", "duration_api_ms", "num_turns", "total_cost_usd"} <= set(result)
    assert result["usage"] == {"input_tokens": 0, "output_tokens": 0}
    assert (result["modelUsage"], result["permission_denials"]) == ({}, [])


def test_a_run_whose_process_is_gone_has_a_result_too(say: Say, dead_node: str, told: Any) -> None:
    say("hello", node=dead_node)
    runs.fail_orphans()
    assert frames(told)[-1]["result"] == "the server process ended"


def test_what_is_no_message_is_not_of_001(say: Say, alice: Principal, session: Session) -> None:
    for number in range(4):
        runs.finish(run_id=say(f"m{number}").run_id, status="completed", content="x")
    assert session.events.filter(kind=SessionEvent.Kind.RESULT).count() == 4
    messages = chat.history(principal=alice, session_key="s")["messages"]
    assert {message["role"] for message in messages} == {"user", "assistant"}
    [row] = sessions.list_(principal=alice)["sessions"]
    assert row["messageCount"] == len(messages) == 10
    answer = compaction.compact(principal=alice, key="s", keep_last=4)
    assert answer == {"ok": True, "original": 10, "kept": 4}
    assert len(chat.history(principal=alice, session_key="s")["messages"]) == 4
    assert sessions.preview(principal=alice, key="s")["summary"].startswith("6 earlier messages")


def test_what_was_said_in_002_comes_back_as_it_was_said(session: Session) -> None:
    said = {"type": "system", "subtype": "init", "tools": ["Bash"], "uuid": "theirs"}
    event, _ = log.append(
        session, kind="event", data={"frame": session_frames.bare(said)}, event_uuid="ours"
    )
    frame = session_frames.stored(event, session)
    assert (frame["tools"], frame["uuid"]) == (["Bash"], "ours")
    assert frame["session_id"] == session.public_id


def test_every_kind_has_a_frame(session: Session) -> None:
    for kind in SessionEvent.Kind:
        event, _ = log.append(session, kind=kind, content="words")
        assert session_frames.stored(event, session)["type"]


def test_an_event_costs_its_number_its_row_and_its_announcement(
    session: Session, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(4):
        log.append(session, kind="user", content="a")


def test_what_is_rolled_back_is_not_told(session: Session, told: Any) -> None:
    log.append(session, kind="user", content="a", event_uuid="u")
    with pytest.raises(IntegrityError), transaction.atomic():
        log.append(session, kind="user", content="b", event_uuid="u")
    assert [event.data["seq"] for _, event in told("session.logged")] == [3]


def test_a_very_long_frame_is_left_for_who_watches_to_read(session: Session, told: Any) -> None:
    log.append(session, kind="user", content="x" * (log.LARGEST_TOLD + 1))
    [(_, event)] = told("session.logged")
    assert event.data == {"seq": 3, "frame": None}


def test_the_words_of_a_frame_are_its_text_or_those_of_its_blocks() -> None:
    blocks = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    assert session_frames.text_of({"message": {"content": blocks}}) == "a\nb"
    assert session_frames.text_of({"message": {"content": "a"}}) == "a"
    assert session_frames.text_of({"type": "result"}) == ""


def test_sessions_have_a_name_of_their_own_in_002(session: Session, alice: Principal) -> None:
    other = sessions.create(principal=alice, key="t", agent="echo")
    assert session.public_id != other.public_id
    for name in (session.public_id, other.public_id):
        assert name.startswith("session_")
        assert len(name) >= len("session_") + 22
