"""The outbox under real concurrency: commits that finish out of order, and those rolled back."""

from __future__ import annotations

import threading
import time

import pytest
from django.db import connection, transaction

from realtime.bus import follow
from realtime.bus.announce import announce
from realtime.core import addresses
from realtime.core.events import Event

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

TEAM = addresses.group("r", "team")


def in_a_thread(work):
    def run():
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def everybody(addresses):
    return True


def read(cursor):
    heard = follow.unheard(cursor.high, list(cursor.gaps), everybody)
    for number, *_ in heard:
        cursor.mark(number, time.monotonic())
    return [event.name for *_, said in heard for _, events in said for event in events]


def test_a_transaction_that_commits_late_is_heard_once():
    cursor = follow.newest(time.monotonic())
    inserted, may_commit = threading.Event(), threading.Event()

    def slow():
        with transaction.atomic():
            announce(TEAM, Event("slow"))
            inserted.set()
            may_commit.wait(60)

    thread = in_a_thread(slow)
    assert inserted.wait(30)
    late_starter = follow.newest(time.monotonic())
    announce(TEAM, Event("quick"))
    assert read(cursor) == ["quick"]
    assert read(late_starter) == ["quick"]
    may_commit.set()
    thread.join(30)
    # A process that started while the transaction was open hears it too.
    for process in (cursor, late_starter):
        assert read(process) == ["slow"]
        assert read(process) == []


def test_many_writers_and_rollbacks_lose_nothing_and_repeat_nothing():
    cursor = follow.newest(time.monotonic())
    expected = {f"{writer}-{n}" for writer in range(6) for n in range(30) if n % 3}

    def write(writer):
        for n in range(30):
            try:
                with transaction.atomic():
                    announce(TEAM, Event(f"{writer}-{n}"))
                    time.sleep(0.001 * (writer % 3))  # so that commits overtake each other
                    if n % 3 == 0:
                        raise ZeroDivisionError
            except ZeroDivisionError:
                pass

    threads = [in_a_thread(lambda writer=writer: write(writer)) for writer in range(6)]
    heard = []
    while any(thread.is_alive() for thread in threads):
        heard += read(cursor)
    for thread in threads:
        thread.join()
    heard += read(cursor)
    assert sorted(heard) == sorted(expected)
