"""Messages, aborts and ends that come at the same moment, on real transactions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from realtime.core.errors import NotOwner
from realtime.core.principal import Principal
from sessions_app.models import Session
from sessions_app.services import chat, runs, sessions
from sessions_app.services.sent import Sent

Say = Callable[..., Sent]


def contents(key: str = "s") -> list[str]:
    return [message["content"] for message in Session.objects.get(key=key).messages(99)]


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """The results of `work(0)` … begun at once; an exception counts as its result."""
    begin = threading.Barrier(count)
    results: list[Any] = [None] * count

    def one(number: int) -> None:
        begin.wait()
        try:
            results[number] = work(number)
        except Exception as error:
            results[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_of_parallel_messages_to_an_idle_session_one_starts_the_run(
    say: Say, alice: Principal
) -> None:
    for turn in range(5):
        key = f"s{turn}"
        sessions.create(principal=alice, key=key, agent="echo")
        sent = in_threads(6, lambda n, k=key: say(f"m{n}", session_key=k, message_id=str(n % 3)))
        outcomes = [getattr(one, "outcome", one) for one in sent]
        assert outcomes.count("started") == 1, outcomes
        # Each message id came twice, and is stored once.
        assert sorted(int(text[1:]) % 3 for text in contents(key)) == [0, 1, 2]


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_of_parallel_messages_one_starts_the_run(say: Say) -> None:
    sent = in_threads(8, lambda number: say(f"m{number}", session_key="new").outcome)
    assert sorted(sent) == ["injected"] * 7 + ["started"]
    seqs = list(Session.objects.get().events.values_list("seq", flat=True))
    assert seqs == list(range(1, 9))


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_of_parallel_repeats_one_is_stored(say: Say) -> None:
    sent = in_threads(8, lambda _: say("hi", session_key="new", message_id="m").outcome)
    assert sorted(sent) == ["repeated"] * 7 + ["started"]
    assert contents("new") == ["hi"]


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_two_people_cannot_both_get_a_new_key(say: Say, alice: Principal, bob: Principal) -> None:
    people = [alice, bob]
    sent = in_threads(2, lambda n: say("hi", session_key="new", principal=people[n]))
    assert sum(isinstance(one, NotOwner) for one in sent) == 1
    assert Session.objects.count() == 1


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_sending_finishing_and_aborting_at_once_never_deadlock(say: Say, alice: Principal) -> None:
    for turn in range(10):
        key = f"s{turn}"
        run_id = say("slow 9", session_key=key).run_id
        work = [
            lambda k=key: say("stop", session_key=k),
            lambda k=key: say("more", session_key=k),
            lambda r=run_id: runs.finish(run_id=r, status="completed", content="x"),
            lambda k=key: chat.abort(principal=alice, session_key=k),
        ]
        results = in_threads(4, lambda number, w=work: w[number]())
        assert [one for one in results if isinstance(one, Exception)] == []
