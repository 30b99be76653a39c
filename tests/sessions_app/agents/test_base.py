from __future__ import annotations

from sessions_app.agents import Turn


def test_what_is_spent_adds_up() -> None:
    turn = Turn(message="hello")
    turn.spend(prompt=2)
    turn.spend(prompt=1, completion=4)
    assert turn.usage == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def test_two_turns_share_nothing() -> None:
    first, second = Turn(message="a"), Turn(message="b")
    first.spend(prompt=1)
    first.history.append({})
    assert second.usage["total_tokens"] == 0
    assert second.history == []
    assert first.injected is not second.injected
