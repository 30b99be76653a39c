from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core.limits import Buckets, Strikes, TokenBucket


def test_a_burst_passes_and_the_next_waits():
    bucket = TokenBucket(per_minute=60, burst=5, now=0)
    assert [bucket.take(0) for _ in range(5)] == [0.0] * 5
    assert bucket.take(0) == pytest.approx(1.0)


def test_a_token_comes_back_with_time():
    bucket = TokenBucket(per_minute=60, burst=1, now=0)
    assert bucket.take(0) == 0.0
    assert bucket.take(0.5) > 0
    assert bucket.take(1.5) == 0.0


def test_a_clock_that_steps_back_gives_nothing():
    bucket = TokenBucket(per_minute=60, burst=1, now=100)
    assert bucket.take(100) == 0.0
    assert bucket.take(0) > 0


@given(
    per_minute=st.floats(1, 6000),
    burst=st.integers(1, 20),
    gaps=st.lists(st.floats(0, 10), max_size=100),
)
def test_never_more_than_the_rate_and_the_burst(per_minute, burst, gaps):
    bucket = TokenBucket(per_minute=per_minute, burst=burst, now=0)
    now, passed = 0.0, 0
    for gap in gaps:
        now += gap
        passed += bucket.take(now) == 0.0
    assert passed <= burst + now * per_minute / 60 + 1e-6


def test_each_key_has_a_bucket_of_its_own():
    buckets = Buckets(per_minute=60, burst=1)
    assert buckets.take("alice", 0) == 0.0
    assert buckets.take("alice", 0) > 0
    assert buckets.take("bob", 0) == 0.0


def test_zero_per_minute_is_no_limit():
    buckets = Buckets(per_minute=0, burst=1)
    assert [buckets.take("alice", 0) for _ in range(100)] == [0.0] * 100


def test_the_number_of_remembered_keys_is_bounded():
    buckets = Buckets(per_minute=60, burst=1, most=2)
    for key in ("a", "b", "c"):
        buckets.take(key, 0)
    assert buckets.take("c", 0) > 0, "the newest is remembered"
    assert buckets.take("a", 0) == 0.0, "the oldest was forgotten"


def test_failures_are_counted_within_their_time_for_each_key():
    strikes = Strikes(most=2, within_s=60)
    assert [strikes.strike("a", at) for at in (0, 1, 2, 59)] == [True, True, False, False]
    assert strikes.strike("b", 2)
    assert strikes.strike("a", 60.5)
    assert not strikes.strike("a", 60.6)
    strikes.forgive("a")
    assert strikes.strike("a", 61)


def test_of_many_keys_the_least_recently_used_failure_is_forgotten():
    strikes = Strikes(most=1, within_s=60, keys=2)
    for key in ("a", "b", "c"):
        assert strikes.strike(key, 0)
    assert strikes.strike("a", 1)
    assert not strikes.strike("c", 1)
