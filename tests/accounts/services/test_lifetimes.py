"""Lifetimes as people write them."""

from __future__ import annotations

import datetime as dt

import pytest

from accounts.services import lifetimes
from realtime.core.errors import InvalidParams


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("15m", 900), (" 12H ", 43200), ("30d", 2592000)],
)
def test_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert lifetimes.parse(text) == dt.timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "0", "0d", "-1d", "1w", "d", "1.5h", "1e9", "9999999999", "99999d", "१d", "1d\n1"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidParams, match="lifetime"):
        lifetimes.parse(text)
