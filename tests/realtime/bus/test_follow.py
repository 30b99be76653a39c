from __future__ import annotations

import datetime as dt

import pytest
from django.db import transaction
from django.db.models.functions import Now

from realtime.bus import announce as announcing
from realtime.bus import follow
from realtime.bus.announce import announce
from realtime.bus.follow import Cursor
from realtime.core import addresses
from realtime.core.events import Event
from realtime.models import Announcement

TEAM = addresses.group("r", "team")


def everybody(addresses):
    return True


def read(cursor):
    heard = follow.unheard(cursor.high, list(cursor.gaps), everybody)
    for number, *_ in heard:
        cursor.mark(number, 1.0)
    return [event.name for *_, said in heard for _, events in said for event in events]


def put(number, name="late"):
    Announcement.objects.create(id=number, addresses=[TEAM.pack()], event=Event(name).pack())


@pytest.mark.django_db
def test_what_is_announced_is_read_once_with_its_addresses():
    cursor = follow.newest(0.0)
    number = announce([TEAM, addresses.admins("a")], Event("x", {"n": 1}))
    ((got, once, said),) = follow.unheard(cursor.high, [], everybody)
    assert (got, once) == (number, "")
    assert said == [([TEAM, addresses.admins("a")], [Event("x", {"n": 1})])]
    assert read(cursor) == ["x"]
    assert read(cursor) == []
    assert cursor.has(number)


@pytest.mark.django_db
def test_many_facts_of_one_transaction_come_in_order_each_to_its_own():
    cursor = follow.newest(0.0)
    other = addresses.group("r", "other")
    facts = [([TEAM], Event(f"e{n}", {"n": n})) for n in range(60)]
    facts[1:1] = [([other, TEAM], Event("to both")), ([other], Event("to the other"))]
    announcing.announce_all(facts)
    assert Announcement.objects.count() == 2
    heard = follow.unheard(cursor.high, [], everybody)
    came = [(targets, event) for *_, said in heard for targets, some in said for event in some]
    assert came == [(list(targets), event) for targets, event in facts]


@pytest.mark.django_db
def test_what_is_said_where_nobody_hears_is_not_read_but_counts_as_heard():
    cursor = follow.newest(0.0)
    number = announce(TEAM, Event("x"))
    asked = []

    def nobody(addresses):
        asked.extend(addresses)
        return False

    assert follow.unheard(cursor.high, [], nobody) == [(number, "", [])]
    assert asked == [TEAM]


@pytest.mark.django_db
def test_what_is_recorded_is_read_even_where_nobody_hears_and_has_a_key_of_its_own():
    cursor = follow.newest(0.0)
    for name in "ab":
        announcing.announce_recorded(TEAM, Event(name))
    heard = follow.unheard(cursor.high, [], lambda addresses: False)
    assert [said for *_, said in heard] == [[([TEAM], [Event(name)])] for name in "ab"]
    keys = [once for _, once, _ in heard]
    assert len(set(keys)) == 2 and all(len(key) == 32 for key in keys)


@pytest.mark.django_db
def test_a_new_process_knows_what_was_to_be_recorded_and_nothing_else():
    announce(TEAM, Event("told"))
    announcing.announce_recorded(TEAM, Event("numbered"))
    [(_, once, said)] = follow.recorded()
    assert len(once) == 32 and said == [([TEAM], [Event("numbered")])]


@pytest.mark.django_db
def test_a_new_process_starts_behind_the_newest_row():
    announce(TEAM, Event("old"))
    assert read(follow.newest(0.0)) == []


@pytest.mark.django_db
def test_a_row_that_commits_late_is_neither_skipped_nor_read_twice():
    put(10, "first")
    cursor = follow.newest(0.0)
    put(13, "newer")
    assert read(cursor) == ["newer"]
    assert not cursor.has(12)
    put(12)
    put(11)
    assert read(cursor) == ["late", "late"]
    assert cursor.has(12)
    assert read(cursor) == []
    assert not {11, 12} & set(cursor.gaps)


@pytest.mark.django_db
def test_a_transaction_open_while_a_process_starts_is_heard_by_it():
    put(10, "old")
    put(12, "old")
    cursor = follow.newest(0.0)
    put(11)
    assert read(cursor) == ["late"]


@pytest.mark.django_db
def test_below_the_first_row_of_all_only_the_latest_may_still_come():
    cursor = follow.newest(0.0)
    put(5000)
    read(cursor)
    assert min(cursor.gaps) == 5000 - follow.FIRST_GAPS
    put(4999)
    assert read(cursor) == ["late"]


def test_a_gap_of_a_rolled_back_transaction_is_given_up_in_time():
    cursor = Cursor(high=10)
    cursor.mark(12, now_s=100.0)
    cursor.forget_old_gaps(100.0 + follow.KEEP.total_seconds())
    assert list(cursor.gaps) == [11]
    cursor.forget_old_gaps(101.0 + follow.KEEP.total_seconds())
    assert cursor.gaps == {}


def test_the_number_of_gaps_is_bounded():
    cursor = Cursor(high=1)
    for step in range(1, 6):
        cursor.mark(1 + step * 1000, now_s=0.0)
    cursor.forget_old_gaps(0.0)
    assert len(cursor.gaps) == follow.MAX_GAPS
    assert max(cursor.gaps) == 5000


@pytest.mark.django_db(transaction=True)
def test_rolled_back_nobody_hears_and_no_hint_is_given():
    hints = []
    announcing.use_hint(lambda: hints.append(1))
    try:
        cursor = follow.newest(0.0)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            announce(TEAM, Event("never"))
            raise ZeroDivisionError
        assert (read(cursor), hints) == ([], [])
        with transaction.atomic():
            announce(TEAM, Event("yes"))
            assert hints == [], "a hint before the commit would find nothing"
        assert (read(cursor), hints) == (["yes"], [1])
    finally:
        announcing.use_hint(None)


@pytest.mark.django_db
def test_rows_are_deleted_after_ten_minutes():
    old, new = announce(TEAM, Event("old")), announce(TEAM, Event("new"))
    Announcement.objects.filter(pk=old).update(created_at=Now() - dt.timedelta(minutes=11))
    assert follow.delete_old() == 1
    assert list(Announcement.objects.values_list("pk", flat=True)) == [new]
