from __future__ import annotations

import msgspec
import pytest

from realtime.core import wire
from realtime.core.errors import MalformedFrame


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        '{"a":1,}',
        '{"a":1} {"b":2}',
        "\ufeff{}",
        '{"a":NaN}',
        '{"a":Infinity}',
        '{"a":1e999}',
        '{"a":"\\ud800"}',
        '{"a":"\\u0000"}',
        '{"\\u0000":1}',
        '{"a":9007199254740993}',
        '{"a":18446744073709551616}',
        '{"a":-9223372036854775809}',
        '{"a":' + "9" * 5000 + "}",
        nested(34),
        nested(1_000),
        nested(100_000),
        "{" + ",".join(f'"k{i}":1' for i in range(1001)) + "}",
        b"\xff\xfe",
        b'{"a":"\xed\xa0\x80"}',
    ],
    ids=lambda text: repr(text[:24]),
)
def test_bad_json_is_one_kind_of_complaint(text):
    with pytest.raises(MalformedFrame, match="^invalid frame: "):
        wire.decode(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a":[1,2.5,null,true,"ü 💙"]}', {"a": [1, 2.5, None, True, "ü 💙"]}),
        (b'{"a":1}', {"a": 1}),
        ('{"a":9007199254740992}', {"a": 2**53}),
        ('{"__proto__":"{{7*7}}"}', {"__proto__": "{{7*7}}"}),
        ("null", None),
    ],
)
def test_good_json_comes_through(text, value):
    assert wire.decode(text) == value


def test_nesting_up_to_the_limit_is_allowed():
    assert wire.decode(nested(wire.MAX_DEPTH)) is not None


def test_encoding_keeps_text_as_it_is():
    assert wire.encode({"m": "hey 💙 <b>"}) == '{"m":"hey 💙 <b>"}'


def test_shape_names_what_was_wrong():
    class Point(msgspec.Struct):
        x: int

    assert wire.shape({"x": 1, "more": 2}, Point, "bad point").x == 1
    with pytest.raises(MalformedFrame, match="^bad point: .*x"):
        wire.shape({"x": "1"}, Point, "bad point")


@pytest.mark.parametrize("value", ["\ud800", {"\ud800": 1}, [{"a": ["\udfff"]}]])
def test_what_another_decoder_let_in_is_checked_to_be_json(value):
    with pytest.raises(MalformedFrame, match="must be JSON"):
        wire.check(value)
    wire.check({"a": [1, None, "💙"]})
