"""Which data a filter lets through, and what judging costs."""

from __future__ import annotations

import pytest

from realtime.core import filters
from realtime.core.errors import InvalidParams
from realtime.core.events import Event
from realtime.core.filters import Filter

DATA = {"a": 1, "b": True, "c": None, "d": {"x": [1, {"y": 2}]}, "e": "1"}


def passes(wanted, data):
    return Filter(wanted).passes(Event("x"), data)


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ({"a": 1}, True),
        ({"a": 1.0}, True),
        ({"a": True}, False),
        ({"a": "1"}, False),
        ({"a": [1]}, False),
        ({"b": True}, True),
        ({"b": 1}, False),
        ({"c": None}, True),
        ({"missing": None}, False),
        ({"missing": {}}, False),
        ({"d": {"x": [1, {"y": 2}]}}, True),
        ({"d": {"x": [1.0, {"y": 2.0}]}}, True),
        ({"d": {"x": [1.5, {"y": 2}]}}, False),
        ({"d": {"x": [True, {"y": 2}]}}, False),
        ({"d": {"x": [1]}}, False),
        ({"d": {}}, False),
        ({"d": 1}, False),
        ({"d.x": 1}, False),
        ({"a": 1, "e": "1"}, True),
        ({"a": 1, "e": "2"}, False),
        ({"a": 1, "d": {"x": [1, {"y": 2}]}}, True),
    ],
)
def test_a_filter_is_equality_of_its_keys_with_those_of_the_data(wanted, fits):
    assert passes(wanted, DATA) is fits


def test_the_order_of_keys_means_nothing():
    assert passes({"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}})
    assert Filter({"a": 1, "b": 2}).key == Filter({"b": 2, "a": 1}).key


@pytest.mark.parametrize("data", [None, 1, "a", [], ["a"], True])
def test_what_is_no_object_passes_no_filter(data):
    assert not passes({"a": 1}, data)


@pytest.mark.parametrize("wanted", [1, "a", [1], True])
def test_a_filter_is_an_object(wanted):
    with pytest.raises(InvalidParams, match="filters takes an object"):
        Filter(wanted)


def test_a_filter_is_short():
    Filter({"a": "x" * (filters.MAX_BYTES - len('{"a":""}'))})
    with pytest.raises(InvalidParams, match="up to 4096 bytes"):
        Filter({"a": "x" * filters.MAX_BYTES})


def test_many_filters_cost_one_reading_of_what_they_ask_for(monkeypatch):
    """Three small messages past a few hundred nested filters once held a process for seconds."""
    read = []
    monkeypatch.setattr(
        filters, "_text", lambda value, real=filters._text: read.append(1) or real(value)
    )
    wanted = [Filter({"a": [{}, [number]]}) for number in range(100)]
    event, data = Event("x"), {"a": [{}, [99]]}
    read.clear()
    assert [one.passes(event, data) for one in wanted] == [False] * 99 + [True]
    assert len(read) == 1


def test_what_is_longer_than_any_filter_is_not_looked_into(monkeypatch):
    looked = []
    monkeypatch.setattr(
        filters, "_whole", lambda value, real=filters._whole: looked.append(1) or real(value)
    )
    one, event = Filter({"a": [1]}), Event("x")
    looked.clear()
    assert not one.passes(event, {"a": [1.0] * 10_000})
    assert looked == []
