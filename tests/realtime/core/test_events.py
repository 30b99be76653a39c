from __future__ import annotations

from realtime.core.events import Event


def test_an_event_survives_the_wire():
    event = Event("agent", {"runId": "r"}, after=7)
    assert Event.unpack(event.pack()) == event
    assert "after" not in Event("x").pack()


def test_a_rendering_is_made_once_for_each_protocol():
    event, made = Event("x"), []

    def render() -> str:
        made.append(1)
        return "text"

    assert [event.rendered("goclaw", render) for _ in range(3)] == ["text"] * 3
    assert event.rendered("nexus", render) == "text"
    assert len(made) == 2


def test_a_verdict_is_found_once_for_each_filter():
    event, judged = Event("x"), []

    def judge() -> bool:
        judged.append(event)
        return False

    assert [event.judged(key, judge) for key in ("a", "a", "b")] == [False] * 3
    assert judged == [event, event]
