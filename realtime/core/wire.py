"""One decoder, one encoder, one complaint.

msgspec refuses NaN, Infinity, lone surrogates and bad UTF-8. `sanitize` refuses what JSON lets
through and a later stage does not: deep nesting, integers beyond 2^53, U+0000, documents with too
many keys.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import msgspec

from realtime.core.errors import MalformedFrame, NotJson

T = TypeVar("T")

MAX_DEPTH = 32
MAX_KEYS = 1000
MAX_INTEGER = 2**53

_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()
_BAD = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


def decode(text: str | bytes) -> Any:
    """Any JSON value, sanitized. Raises MalformedFrame; NotJson where the text is none."""
    value = parse(text)
    sanitize(value)
    return value


def parse(text: str | bytes) -> Any:
    """Any JSON value, for who sanitizes it. Raises NotJson."""
    try:
        return _decoder.decode(text)
    except _BAD as error:
        raise NotJson(f"invalid frame: {_words(error)}") from None


def shape(value: Any, kind: type[T], complaint: str) -> T:
    """`value` as `kind`, a msgspec Struct. Raises MalformedFrame("<complaint>: <why>")."""
    try:
        return msgspec.convert(value, kind)
    except _BAD as error:
        raise MalformedFrame(f"{complaint}: {_words(error)}") from None


def encode(value: Any) -> str:
    return _encoder.encode(value).decode()


def sanitize(value: Any) -> None:
    """Raise MalformedFrame on a value that a later stage could not carry."""
    keys = 0
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for item in level:
            if type(item) is str:
                _check_text(item)
            elif type(item) is dict:
                keys += len(item)
                for key in item:
                    _check_text(key)
                below.extend(item.values())
            elif type(item) is list:
                below.extend(item)
            else:
                _check_number(item)
        if keys > MAX_KEYS:
            raise MalformedFrame(f"invalid frame: more than {MAX_KEYS} keys")
        if not below:
            return
        level = below
    raise MalformedFrame(f"invalid frame: nested deeper than {MAX_DEPTH} levels")


def check(value: Any) -> None:
    """As `sanitize`, for what another decoder has let in: a lone surrogate is not JSON either."""
    try:
        sanitize(value)
        encode(value)
    except (UnicodeError, ValueError, OverflowError, RecursionError):
        raise MalformedFrame("invalid frame: it must be JSON") from None


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise MalformedFrame("invalid frame: the character U+0000 is not allowed")


def _check_number(item: Any) -> None:
    if type(item) is int and not -MAX_INTEGER <= item <= MAX_INTEGER:
        raise MalformedFrame("invalid frame: integers must lie within 2^53")
    if type(item) is float and not math.isfinite(item):
        raise MalformedFrame("invalid frame: numbers must be finite")


def _words(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"nested deeper than {MAX_DEPTH} levels"
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    return str(error)
