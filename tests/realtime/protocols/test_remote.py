"""002: what transcripts do not show: the codec, the door, and every order that a bus may bring."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core import errors
from realtime.core.credentials import SessionTicket
from realtime.core.effects import Ask, Call, Close, Send, SendText
from realtime.core.events import SESSION_HELD, SESSION_LOGGED, SESSION_SAID, SESSION_WORK, Event
from realtime.core.handshake import Handshake
from realtime.core.operations import ReadEvents
from realtime.core.principal import Principal
from realtime.protocols.remote import RemoteProtocol

FOUND = {"session_id": "session_abc", "account": "default", "seq": 0}


def a_request(part: str = "subscribe", query: Any = None, **headers: str) -> Handshake:
    return Handshake(
        path="/",
        parameters={"session_id": "s", "part": part},
        query=query or {},
        headers=headers,
        address="192.0.2.1",
    )


def a_viewer(seq: int = 0) -> RemoteProtocol:
    """One that has been shown all up to `seq`."""
    protocol = RemoteProtocol(connection="c1")
    protocol.handshake(a_request(authorization="Bearer t"))
    protocol.principal = Principal(id="alice", role="operator")
    protocol.replied("watch", {**FOUND, "seq": seq})
    protocol.replied("read", {"events": [], "to": seq, "more": False})
    return protocol


def logged(seq: int) -> Event:
    return Event(SESSION_LOGGED, {"seq": seq, "frame": {"type": "user", "uuid": f"u{seq}"}})


# --- the codec ---


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ('{"type":"a"}', ["a"]),
        ('{"type":"a"}\n', ["a"]),
        ('{"type":"a"}\n{"type":"b"}\n\n', ["a", "b"]),
        ('{"type":"a"}\r\n{"type":"b"}', ["a", "b"]),
        ('{\n "type":\n "a"\n}', ["a"]),
        (b'{"type":"a"}\n{"type":"b"}', ["a", "b"]),
        ('{"type":"a"}\nnot json\n{"type":"b"}', ["a", "b"]),
        ('{"type":1}\n{}\n[]\n"x"\nnull', []),
        (b"\xff\xfe", []),
        ("", []),
    ],
)
def test_one_object_or_several_between_newlines(text: str | bytes, types: list[str]) -> None:
    assert [frame["type"] for frame in RemoteProtocol().decode(text)] == types


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"message": {"content": "a\0b"}}, "U+0000"),
        ({"message": {"content": [{f"k{n}": 1 for n in range(1001)}]}}, "1000 keys"),
        ({"result": 2**60}, "2^53"),
    ],
)
@pytest.mark.parametrize("works", [False, True])
def test_what_cannot_be_kept_is_refused_by_its_name(works: bool, more: Any, why: str) -> None:
    peer = a_worker() if works else a_viewer()
    for name in ("uuid", "request_id"):
        said = json.dumps({"type": "result", name: "n-1", **more})
        _, *told = peer.receive(peer.decode(said + '\n{"type":"keep_alive"}'))
        refused, alive = [effect.frame for effect in told if isinstance(effect, Send)]
        assert refused["response"]["request_id"] == "n-1"
        assert why in refused["response"]["error"]
        assert alive["type"] == "keep_alive"
    assert len(peer.receive(peer.decode(json.dumps({"type": "x", **more})))) == 1


def test_a_frame_holds_a_thousand_objects_at_most() -> None:
    assert len(RemoteProtocol().decode('{"type":"a"}\n' * 1500)) == 1000


def test_what_is_said_once_is_never_dropped_by_a_rate_limit() -> None:
    viewer, worker = a_viewer(), RemoteProtocol()
    worker.handshake(a_request("worker", authorization="Bearer t"))
    for kind, counted in [
        ("user", True),
        ("control_request", True),
        ("control_response", False),
        ("keep_alive", False),
    ]:
        assert viewer.counts([{"type": kind}]) is counted
        assert not worker.counts([{"type": kind}])


def test_what_is_over_the_rate_is_refused_by_its_own_name() -> None:
    viewer, over = a_viewer(), errors.RateLimited()
    request = {"type": "control_request", "request_id": "c1", "request": {"subtype": "interrupt"}}
    alive, said = {"type": "keep_alive"}, {"type": "user", "uuid": "u1"}
    for frame, name in [([alive, said, request], "u1"), ([request], "c1"), ([alive], "")]:
        (told,) = viewer.failed(viewer.ref(frame), over)
        assert isinstance(told, Send)
        assert told.frame["response"] == {
            "subtype": "error",
            "request_id": name,
            "error": str(over),
        }


def test_who_says_again_what_is_stored_hears_that_it_is() -> None:
    viewer = a_viewer()
    assert viewer.replied("say:u1", {"again": False}) == []
    (told,) = viewer.replied("say:u1", {"again": True})
    assert isinstance(told, Send)
    assert told.frame["response"] == {"subtype": "success", "request_id": "u1", "response": {}}


# --- the door ---


def test_the_bearer_comes_before_the_cookie_and_the_query_before_the_header() -> None:
    protocol = RemoteProtocol()
    shown = protocol.handshake(
        a_request(
            query={"organization_uuid": "one"},
            authorization="Bearer t",
            cookie="sessionKey=c",
            **{"x-organization-uuid": "two"},
        )
    )
    assert shown == SessionTicket(token="t", organization="one", address="192.0.2.1")
    cookie = {"cookie": "sessionKey=c", "origin": "https://x.example"}
    shown = RemoteProtocol().handshake(a_request("worker", **cookie))
    assert shown == SessionTicket(token="c", works=True, address="192.0.2.1")


def test_a_cookie_without_an_origin_and_nothing_at_all_are_refused() -> None:
    with pytest.raises(errors.OriginRefused):
        RemoteProtocol().handshake(a_request(cookie="sessionKey=c"))
    with pytest.raises(errors.MissingCredentials):
        RemoteProtocol().handshake(a_request(query={"token": "t"}))


@pytest.mark.parametrize("ref", ["watch", "hold", "read"])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Unavailable(), 1011),
        (errors.RoleTooLow(), 1011),
        (errors.NotOwner(), 4001),
        (errors.NotFound(), 4001),
        (errors.TooManyFailures(), 4003),
        (errors.Replaced(), 4009),
    ],
)
def test_who_cannot_be_shown_the_log_is_closed(
    ref: str, error: errors.GatewayError, code: int
) -> None:
    [close] = RemoteProtocol().failed(ref, error)
    assert isinstance(close, Close)
    assert close.code == code


# --- the log ---


class Log:
    """A session's log, and a viewer who hears of it as a bus likes."""

    def __init__(self) -> None:
        self.viewer = a_viewer()
        self.last = 0
        self.asked: list[tuple[ReadEvents, int]] = []  # each with what was there to be read
        self.shown: list[int] = []

    def take(self, effects: Any) -> None:
        for effect in effects:
            if isinstance(effect, Ask):
                self.asked.append((effect.operation, self.last))  # type: ignore[arg-type]
            elif isinstance(effect, Send | SendText):
                frame = effect.frame if isinstance(effect, Send) else json.loads(effect.text)
                self.shown.append(int(frame["uuid"][1:]))  # type: ignore[index]

    def hear(self, seq: int) -> None:
        self.take(self.viewer.deliver(logged(seq)))

    def answer(self) -> None:
        asked, there = self.asked.pop(0)
        last = max(asked.after_seq, min(asked.after_seq + 3, there))
        page = [
            [n, {"type": "user", "uuid": f"u{n}"}] for n in range(asked.after_seq + 1, last + 1)
        ]
        self.take(self.viewer.replied("read", {"events": page, "to": last, "more": last < there}))


@given(st.lists(st.tuples(st.sampled_from(["say", "hear", "answer", "resync"]), st.integers(0, 9))))
def test_whatever_is_lost_late_or_twice_the_log_is_shown_once_and_in_order(
    steps: list[tuple[str, int]],
) -> None:
    log = Log()
    for step, number in steps:
        if step == "say":
            log.last += 1
        elif step == "hear" and log.last:
            log.hear(max(1, log.last - number))
        elif step == "answer" and log.asked:
            log.answer()
        elif step == "resync":
            log.take(log.viewer.deliver(Event("system.resync", {"reason": "x"})))
    log.last += 1
    log.hear(log.last)
    while log.asked:
        log.answer()
    assert log.shown == list(range(1, log.last + 1))


def test_one_encoding_serves_every_viewer_of_a_process() -> None:
    event = logged(1)
    [first], [second] = a_viewer().deliver(event), a_viewer().deliver(event)
    assert isinstance(first, SendText) and isinstance(second, SendText)
    assert first.text is second.text


def test_questions_are_told_while_the_log_is_read_and_pieces_are_not() -> None:
    viewer = a_viewer()
    viewer.deliver(logged(5))
    question = Event(SESSION_SAID, {"frame": {"type": "control_request"}, "but": ""})
    piece = Event(SESSION_SAID, {"frame": {"type": "stream_event"}})
    assert viewer.deliver(question)
    assert not viewer.deliver(piece)
    viewer.replied("read", {"events": [], "to": 5, "more": False})
    assert viewer.deliver(piece)


# --- the worker ---


def a_worker() -> RemoteProtocol:
    protocol = RemoteProtocol(connection="c1")
    protocol.handshake(a_request("worker", authorization="Bearer t"))
    protocol.replied("watch", FOUND)
    protocol.replied("hold", {"seq": 0, "frames": [], "run": None})
    protocol.replied("read", {"events": [], "to": 0, "more": False})
    return protocol


def test_what_is_meant_for_an_older_worker_is_not_heard() -> None:
    worker = a_worker()
    work = Event(SESSION_WORK, {"frame": {"type": "control_request"}})
    held = Event(SESSION_HELD, {"connection": "another"})
    assert not worker.deliver(work) and not worker.deliver(held)
    assert not worker.deliver(Event(SESSION_HELD, {"connection": "c1"}))
    assert worker.deliver(work)
    [close] = worker.deliver(held)
    assert isinstance(close, Close)
    assert close.code == 4009


def test_a_worker_is_shown_what_is_for_it_and_a_missing_number_makes_it_read() -> None:
    worker = a_worker()
    assert not worker.deliver(logged(1))
    theirs = logged(2)
    theirs.data["work"] = {}
    assert len(worker.deliver(theirs)) == 1
    [ask] = worker.deliver(logged(4))
    assert isinstance(ask, Ask)
    assert ask.operation == ReadEvents(session_id="session_abc", after_seq=2, work=True)


def test_a_result_says_what_the_worker_had_been_told_by_then() -> None:
    worker = a_worker()
    theirs = logged(1)
    theirs.data["work"] = {}
    worker.deliver(theirs)
    [_, call] = worker.receive([{"type": "result", "uuid": "r-1"}])
    assert isinstance(call, Call)
    assert (call.operation.frame["uuid"], call.operation.told) == ("r-1", 1)
