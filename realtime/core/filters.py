"""Filters: which of the messages on a topic somebody wants. Source: PROTOCOLS.md 5.4."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET

from realtime.core.errors import InvalidParams
from realtime.core.events import Event

MAX_BYTES = 4096

_PLAIN = (str, int, float, bool, type(None))
_canonical = msgspec.json.Encoder(order="deterministic").encode


class Filter:
    """Equality of each given key with the same key of `data`; equal filters judge an event once.

    Lists and objects are compared as texts, of which an event has one for each key, however many
    filters ask: a judgement costs no more than a comparison.
    """

    __slots__ = ("_plain", "_texts", "key")

    def __init__(self, wanted: Any) -> None:
        """Raises InvalidParams."""
        if not isinstance(wanted, dict):
            raise InvalidParams("filters takes an object")
        text = _canonical(wanted)
        if len(text) > MAX_BYTES:
            raise InvalidParams(f"filters takes up to {MAX_BYTES} bytes")
        self.key = text.decode()
        plain = {key: value for key, value in wanted.items() if isinstance(value, _PLAIN)}
        self._plain = tuple(plain.items())
        self._texts = tuple(
            (key, _text(value)) for key, value in wanted.items() if key not in plain
        )

    def passes(self, event: Event, data: Any) -> bool:
        """`data` is the event's."""
        return event.judged(self.key, lambda: self._judge(event, data))

    def _judge(self, event: Event, data: Any) -> bool:
        """A loop, for with a thousand different filters it runs a thousand times a message."""
        if not isinstance(data, dict):
            return False
        for key, value in self._plain:
            given = data.get(key, UNSET)
            # As in JSON, 1 is 1.0, and true is not 1.
            if given != value or isinstance(given, bool) is not isinstance(value, bool):
                return False
        for key, text in self._texts:
            if key not in data:
                return False
            if event.rendered(f"filtered by {key}", partial(_text, data[key])) != text:
                return False
        return True


def _text(value: Any) -> str:
    """The same text for what is equal as JSON."""
    text = _canonical(value)
    if len(text) <= 4 * MAX_BYTES:  # what is longer equals no filter, however its numbers look
        text = _canonical(_whole(value))
    return text.decode()


def _whole(value: Any) -> Any:
    """1.0 as 1: JSON has one kind of number."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {key: _whole(one) for key, one in value.items()}
        case list():
            return [_whole(one) for one in value]
        case _:
            return value
