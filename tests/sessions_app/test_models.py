from __future__ import annotations

import threading
import uuid

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.models import Account
from sessions_app.models import Run, Session, SessionEvent


def test_events_are_numbered_from_one_without_a_gap(session: Session) -> None:
    session.append(kind="user", content="third")
    assert list(session.events.values_list("seq", flat=True)) == [1, 2, 3]


def test_an_append_that_fails_takes_no_number(session: Session) -> None:
    session.append(kind="user", content="a", message_id="m")
    with pytest.raises(IntegrityError), transaction.atomic():
        session.append(kind="user", content="b", message_id="m")
    assert session.append(kind="user", content="c").seq == 4


def test_a_uuid_occurs_once_in_a_session(session: Session) -> None:
    session.append(kind="user", content="a", event_uuid="u-1")
    with pytest.raises(IntegrityError), transaction.atomic():
        session.append(kind="user", content="b", event_uuid="u-1")


def test_a_message_id_may_occur_in_two_sessions(session: Session) -> None:
    second = Session.objects.create(account=session.account, key="t", owner="alice", agent="echo")
    session.append(kind="user", content="a", message_id="m")
    assert second.append(kind="user", content="a", message_id="m").seq == 1


def test_many_events_have_no_message_id(session: Session) -> None:
    session.append(kind="user", content="a", message_id="")
    session.append(kind="user", content="b", message_id="")
    assert session.events.filter(message_id=None).count() == 4


def test_an_event_is_never_changed(session: Session) -> None:
    event = session.events.order_by("seq")[0]
    event.content = "something else"
    with pytest.raises(TypeError, match="append-only"):
        event.save()


def test_an_append_makes_the_session_the_last_used(session: Session) -> None:
    before = session.updated_at
    session.append(kind="user", content="a")
    assert session.updated_at > before


def test_a_key_occurs_once_in_an_account(session: Session) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Session.objects.create(account=session.account, key="s", owner="bob", agent="echo")
    other = Account.objects.get(slug="other")
    assert Session.objects.create(account=other, key="s", owner="bob", agent="echo").pk


def test_a_session_has_one_running_run(session: Session) -> None:
    def run(status: str) -> Run:
        return Run.objects.create(
            session=session, agent_id="echo", agent="echo", node="n", status=status
        )

    run("completed")
    run("running")
    with pytest.raises(IntegrityError), transaction.atomic():
        run("running")


def test_a_message_has_only_the_keys_that_have_a_value(session: Session) -> None:
    user, assistant = session.messages(10)
    assert set(user) == {"id", "role", "content", "created_at", "sender_id"}
    assert (user["role"], user["content"], user["sender_id"]) == ("user", "hello", "alice")
    assert user["created_at"].endswith("Z")
    assert set(assistant) == {"id", "role", "content", "created_at"}


def test_a_message_shows_the_extras_of_its_data_and_nothing_else_of_it(session: Session) -> None:
    session.append(
        kind="tool", content="4", data={"tool_call_id": "c1", "is_error": False, "inner": 1}
    )
    shown = session.messages(1)[0]
    assert (shown["tool_call_id"], shown["is_error"]) == ("c1", False)
    assert "inner" not in shown


def test_messages_are_the_newest_oldest_first(session: Session) -> None:
    session.append(kind="user", content="third")
    assert [m["content"] for m in session.messages(2)] == ["hello back", "third"]
    assert [m["content"] for m in session.messages(9, before_seq=3)] == ["hello", "hello back"]


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        ("running", None),
        ("completed", {"runId": str(uuid.UUID(int=1)), "content": "hi", "usage": {"x": 1}}),
        ("failed", {"error": "broken"}),
        ("cancelled", {"cancelled": True}),
    ],
)
def test_a_run_answers_by_its_status(status: str, answer: object) -> None:
    run = Run(pk=uuid.UUID(int=1), status=status, content="hi", usage={"x": 1}, error="broken")
    assert run.answer() == answer


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_parallel_appends_leave_no_gap(session: Session) -> None:
    """A number per committed row, though every third transaction rolls back."""
    begin = threading.Barrier(6)

    def writer(number: int) -> None:
        try:
            begin.wait()
            for turn in range(20):
                try:
                    with transaction.atomic():
                        session_here = Session.objects.get(pk=session.pk)
                        session_here.append(kind="user", content=f"{number}/{turn}")
                        if turn % 3 == 0:
                            raise ZeroDivisionError
                except ZeroDivisionError:
                    continue
        finally:
            connection.close()

    threads = [threading.Thread(target=writer, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seqs = list(SessionEvent.objects.order_by("seq").values_list("seq", flat=True))
    assert seqs == list(range(1, 2 + 6 * 13 + 1))
