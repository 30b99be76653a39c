"""config.postgresql: a server that is frozen does not hold us up for ever."""

from __future__ import annotations

import select
import time

import pytest
from django.db import OperationalError, connections, transaction

from realtime.core import waiting

pytestmark = [pytest.mark.live, pytest.mark.postgres]


@pytest.fixture
def frozen(django_db_blocker, postgres_service):
    """A connection of the settings' own kind to a server that a test may freeze."""
    wrapper = connections["default"].copy(alias="frozen")
    wrapper.settings_dict = wrapper.settings_dict | {
        "NAME": "postgres",
        "USER": "postgres",
        "HOST": "127.0.0.1",
        "PORT": postgres_service.port,
    }
    limit = waiting.answer_within_s.set(0.5)
    with django_db_blocker.unblock():
        connections["frozen"] = wrapper
        answer(wrapper)
        yield wrapper
        postgres_service.cont()
        wrapper.close()
        wrapper.close_pool()
        del connections["frozen"]
    waiting.answer_within_s.reset(limit)


def answer(wrapper):
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone()


def test_a_frozen_server_is_waited_for_no_longer_than_said_and_its_line_is_given_up(
    frozen, postgres_service
):
    line = frozen.connection
    postgres_service.stop()
    began_s = time.monotonic()
    with pytest.raises(OperationalError):
        answer(frozen)
    assert 0.5 <= time.monotonic() - began_s < 10
    assert line.closed
    postgres_service.cont()
    frozen.close_if_unusable_or_obsolete()
    assert answer(frozen) == (1,)


def test_a_transaction_whose_line_is_lost_does_not_wait_for_a_new_one(frozen, postgres_service):
    with pytest.raises(OperationalError, match="wait timeout"), transaction.atomic("frozen"):
        answer(frozen)
        postgres_service.stop()
        answer(frozen)
    assert frozen.connection is None
    postgres_service.cont()
    assert answer(frozen) == (1,)
    assert frozen.get_autocommit()


def test_a_new_line_to_a_frozen_server_is_given_up_in_time(frozen, postgres_service):
    frozen.close()
    postgres_service.stop()
    began_s = time.monotonic()
    with pytest.raises(OperationalError, match="couldn't get a connection"):
        frozen.ensure_connection()
    assert time.monotonic() - began_s < 10  # 3 s, on a busy machine


def test_a_transaction_that_was_idle_for_too_long_is_a_lost_line(frozen):
    """psycopg has it as a fault of the server, which nobody tries again."""
    frozen.cursor().execute("SET idle_in_transaction_session_timeout = 50")
    with pytest.raises(OperationalError, match="idle-in-transaction"), transaction.atomic("frozen"):
        answer(frozen)
        ended(frozen)
        answer(frozen)


def ended(wrapper):
    """Wait until the server has closed the line."""
    assert select.select([wrapper.connection.fileno()], [], [], 30)[0]


def test_without_a_limit_an_answer_may_take_its_time(frozen):
    waiting.answer_within_s.set(None)
    with frozen.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.7)")
        assert cursor.fetchone()
