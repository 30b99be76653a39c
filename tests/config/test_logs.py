from __future__ import annotations

import io
import logging
import logging.config

import pytest
from django.test import AsyncRequestFactory, RequestFactory
from django.utils.log import log_response

from config.logs import REDACTED, configuration, redact

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyIjoiYWxpY2UifQ.c2lnbmF0dXJl"
KEY = "gwk_1234abcd_" + "x" * 43
AGENT_SECRET = "gwe_1234abcd_" + "x" * 43


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
        "GET /nexus/ws?x=1&token=s3cret failed",
        "wss://host/ws?api_key=s3cret",
        "query b'api_key=s3cret&jwt=s3cret&x_account_id=acme'",
        "headers [(b'x-api-key', b's3cret')]",
        "X-API-Key: s3cret",
        f"header Bearer {JWT}",
        f"used {KEY} twice",
        f"used {AGENT_SECRET} twice",
        f"saw {JWT}",
        "redis://user:s3cret@host/0",
    ],
)
def test_what_looks_like_a_secret_is_not_shown_wherever_it_stands(text):
    for event in (cleaned(event=text), cleaned(event="x", detail=[{"text": text}])):
        shown = str(event)
        assert not any(secret in shown for secret in ("s3cret", JWT, KEY, AGENT_SECRET))
        assert REDACTED in shown


def test_what_is_no_secret_is_kept():
    event = {"event": "closing", "code": 4003, "reason": "access was revoked", "user": "alice"}
    assert cleaned(**event) == event


class Teller:
    """An object that tells secrets when it is printed."""

    def __repr__(self):
        return f"<Teller /ws?token=s3cret {KEY}>"


@pytest.mark.parametrize("detail", [Teller(), [Teller()], {"inner": (Teller(),)}, {Teller()}])
def test_an_object_is_shown_only_as_its_cleaned_text(detail):
    shown = str(cleaned(event="x", detail=detail))
    assert "s3cret" not in shown and KEY not in shown
    assert "Teller" in shown


def test_a_plain_value_keeps_its_type():
    event = {"event": "x", "count": 3, "share": 0.5, "good": True, "none": None}
    assert cleaned(**event) == event


@pytest.mark.parametrize(
    "text",
    [
        "Not Found: /api/pairings/s3cret/approve/",
        "Forbidden: /api/pairings/s3cret",
        "Method Not Allowed: /admin/accounts/pairing/code/s3cret/deny/",
    ],
)
def test_a_code_or_sender_id_in_a_path_is_not_shown(text):
    shown = cleaned(event=text)["event"]
    assert shown == text.replace("s3cret", REDACTED)


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("factory", [RequestFactory, AsyncRequestFactory])
def test_djangos_own_lines_carry_no_request(log_format, factory):
    handler = logging.StreamHandler(io.StringIO())
    wanted = configuration(log_format, testing=True)["formatters"]["gateway"]
    handler.setFormatter(logging.config.DictConfigurator({}).configure_formatter(wanted))
    logger = logging.getLogger("tests.request")
    logger.addHandler(handler)
    try:
        request = factory().get("/ws?token=s3cret")
        response = type("Answer", (), {"status_code": 404})()
        log_response(
            "Not Found: %s", request.path, response=response, request=request, logger=logger
        )
    finally:
        logger.removeHandler(handler)
    line = handler.stream.getvalue()
    assert "Not Found: /ws" in line
    assert "s3cret" not in line and "Request" not in line
