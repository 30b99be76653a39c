from __future__ import annotations

import pytest

from config.logs import REDACTED, redact

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyIjoiYWxpY2UifQ.c2lnbmF0dXJl"
KEY = "gwk_1234abcd_" + "x" * 43


def cleaned(**event):
    return redact(None, "info", dict(event))


@pytest.mark.parametrize(
    "key",
    [
        "token",
        "refresh_token",
        "authorization",
        "Authorization",
        "jwt",
        "api_key",
        "password",
        "secret",
        "cookie",
        "sender_id",
        "query_string",
        "payload",
        "pairing_code",
    ],
)
def test_what_is_called_a_secret_is_not_shown(key):
    assert cleaned(event="x", **{key: "s3cret"})[key] == REDACTED


@pytest.mark.parametrize(
    "text",
    [
        f"GET /ws?token={JWT} failed",
        "wss://host/ws?api_key=s3cret",
        f"header Bearer {JWT}",
        f"used {KEY} twice",
        f"saw {JWT}",
        "redis://user:s3cret@host/0",
    ],
)
def test_what_looks_like_a_secret_is_not_shown_wherever_it_stands(text):
    for event in (cleaned(event=text), cleaned(event="x", detail=[{"text": text}])):
        shown = str(event)
        assert not any(secret in shown for secret in ("s3cret", JWT, KEY))
        assert REDACTED in shown


def test_what_is_no_secret_is_kept():
    event = {"event": "closing", "code": 4003, "reason": "access was revoked", "user": "alice"}
    assert cleaned(**event) == event
