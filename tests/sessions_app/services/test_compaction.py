"""A conversation goes on from its last messages; the log stays whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from realtime.core.errors import InvalidParams
from realtime.core.principal import Principal
from sessions_app.models import IS_MESSAGE, Session
from sessions_app.services import chat, compaction, runs, sessions
from sessions_app.services.sent import Sent
from tests.sessions_app.gate import everyone

Say = Callable[..., Sent]


@pytest.fixture
def long(session: Session) -> Session:
    """Alice's session `s`, with ten messages."""
    for number in range(3, 11):
        session.append(kind="user", author="alice", content=f"m{number}")
    return session


def history(alice: Principal) -> list[str]:
    return [m["content"] for m in chat.history(principal=alice, session_key="s")["messages"]]


def test_the_last_messages_are_kept_and_nothing_is_deleted(alice: Principal, long: Session) -> None:
    answer = compaction.compact(principal=alice, key="s")
    assert answer == {"ok": True, "original": 10, "kept": 4}
    assert history(alice) == ["m7", "m8", "m9", "m10"]
    assert long.events.filter(IS_MESSAGE).count() == 10
    preview = sessions.preview(principal=alice, key="s")
    assert [m["content"] for m in preview["messages"]] == ["m7", "m8", "m9", "m10"]
    first, last = long.events.get(seq=1).message(), long.events.get(seq=6).message()
    assert preview["summary"] == (
        f"6 earlier messages, written between {first['created_at']} and {last['created_at']},"
        " are left out here."
    )
    [row] = sessions.list_(principal=alice)["sessions"]
    assert (row["compactionCount"], row["messageCount"]) == (1, 4)


def test_who_watches_is_told_where_the_conversation_begins(
    alice: Principal, long: Session, told: Any
) -> None:
    compaction.compact(principal=alice, key="s")
    ((_, event),) = told("session.logged")
    frame = event.data["frame"]
    assert (frame["type"], frame["subtype"]) == ("system", "compact_boundary")
    assert frame["compact_metadata"] == {"trigger": "manual", "original": 10, "kept": 4}
    compaction.compact(principal=alice, key="s", keep_last=9)  # which changes nothing
    assert len(told("session.logged")) == 1


def test_compacting_again_counts_from_where_it_stands(alice: Principal, long: Session) -> None:
    compaction.compact(principal=alice, key="s", keep_last=8)
    assert compaction.compact(principal=alice, key="s", keep_last=2) == {
        "ok": True,
        "original": 8,
        "kept": 2,
    }
    long.refresh_from_db()
    assert (long.compactions, long.compacted_seq) == (2, 8)
    assert long.summary.startswith("8 earlier messages")


def test_a_short_session_is_left_alone(alice: Principal, session: Session) -> None:
    for number in range(3):
        session.append(kind="user", content=str(number))
    short = {"ok": True, "message": "session too short to compact", "kept": 5}
    assert compaction.compact(principal=alice, key="s", keep_last=1) == short
    session.append(kind="user", content="the sixth")
    answer = compaction.compact(principal=alice, key="s", keep_last=1)
    assert answer == {"ok": True, "original": 6, "kept": 1}


def test_keeping_more_than_there_is_changes_nothing(alice: Principal, long: Session) -> None:
    answer = compaction.compact(principal=alice, key="s", keep_last=10)
    assert answer == {"ok": True, "original": 10, "kept": 10}
    long.refresh_from_db()
    assert (long.compactions, long.compacted_seq, long.summary) == (0, 0, "")


@pytest.mark.parametrize("keep_last", [0, -1, 201])
def test_a_number_out_of_range_is_refused_with_the_range(
    alice: Principal, long: Session, keep_last: int
) -> None:
    with pytest.raises(InvalidParams, match="^keepLast takes 1 to 200$"):
        compaction.compact(principal=alice, key="s", keep_last=keep_last)


def test_what_an_active_run_is_about_stays(alice: Principal, long: Session, say: Say) -> None:
    sent = say("slow 9")
    say("and this")
    answer = compaction.compact(principal=alice, key="s", keep_last=1)
    assert answer == {"ok": True, "original": 12, "kept": 2}
    assert history(alice) == ["slow 9", "and this"]
    before, asked_to_stop = runs.begin(run_id=sent.run_id)
    assert (before, asked_to_stop) == ([], False), "the turn begins after what was compacted"
    runs.finish(run_id=sent.run_id, status="completed", content="done")
    assert history(alice) == ["slow 9", "and this", "done"]


def test_the_next_turn_is_given_what_is_kept(alice: Principal, long: Session, say: Say) -> None:
    compaction.compact(principal=alice, key="s", keep_last=2)
    before, _ = runs.begin(run_id=say("next").run_id)
    assert [m["content"] for m in before] == ["m9", "m10"]


def test_a_message_id_from_before_is_still_known(alice: Principal, say: Say) -> None:
    first = say("hello", message_id="m-1")
    runs.finish(run_id=first.run_id, status="completed", content="x")
    for number in range(6):
        chat.inject(principal=alice, session_key="s", message=str(number))
    compaction.compact(principal=alice, key="s")
    assert say("hello", message_id="m-1").outcome == "done"


def test_a_reset_begins_anew(alice: Principal, long: Session) -> None:
    compaction.compact(principal=alice, key="s")
    sessions.reset(principal=alice, key="s")
    long.refresh_from_db()
    assert (long.compactions, long.compacted_seq, long.summary) == (0, 0, "")
    assert sessions.preview(principal=alice, key="s")["summary"] == ""
    assert "compactionCount" not in sessions.list_(principal=alice)["sessions"][0]


@everyone
def test_it_passes_the_gate_of_ownership(
    people: dict[str, Principal], long: Session, who: str, refusal: Any
) -> None:
    if refusal is None:
        assert compaction.compact(principal=people[who], key="s")["kept"] == 4
        return
    with pytest.raises(refusal):
        compaction.compact(principal=people[who], key="s")
    long.refresh_from_db()
    assert long.compactions == 0


def test_a_key_is_required(alice: Principal) -> None:
    with pytest.raises(InvalidParams, match="^key is required$"):
        compaction.compact(principal=alice, key="")
