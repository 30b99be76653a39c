from __future__ import annotations

import pytest
from django.http.cookie import parse_cookie

from realtime.core.handshake import Handshake

HOST = b"chat.example"


def scope(headers=(), query=b"", scheme="ws"):
    return {
        "path": "/ws",
        "scheme": scheme,
        "query_string": query,
        "client": ("198.51.100.7", 4711),
        "headers": [(b"host", HOST), *headers],
    }


def request(*headers, **kwargs):
    return Handshake.from_scope(scope(headers, **kwargs))


ALLOWED = ["https://allowed.example"]


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "file://",
        "https://allowed.example.evil.com",
        "https://evilallowed.example",
        "https://allowed.example:444",
        "https://allowed.example/",
        "https://allowed.example@evil",
        "http://allowed.example",
        "https://xn--allowed-example",
        "https://allowed.example.",
        "https://[::1]",
        "https://" + "a" * 8000,
        "",
        "https://chat.example",
        "http://chat.example:8000",
    ],
)
def test_another_origin_is_refused(origin):
    assert not request((b"origin", origin.encode())).origin_allowed(ALLOWED)


@pytest.mark.parametrize(
    "origin", ["https://allowed.example", "HTTPS://ALLOWED.EXAMPLE", "http://chat.example"]
)
def test_a_listed_origin_and_our_own_pass(origin):
    assert request((b"origin", origin.encode())).origin_allowed(ALLOWED)


def test_our_own_origin_follows_the_scheme_we_are_reached_by():
    secure = request((b"origin", b"https://chat.example"), scheme="wss")
    assert secure.origin_allowed([])


def test_a_star_lets_every_origin_pass():
    assert request((b"origin", b"https://anything.example")).origin_allowed(["*"])


def test_no_origin_passes_unless_cookies_carry_the_credentials():
    assert request().origin_allowed([])
    assert not request().origin_allowed([], cookies_used=True)


def test_two_origins_never_pass():
    double = request((b"origin", b"https://allowed.example"), (b"origin", b"https://evil.example"))
    assert double.fault
    assert not double.origin_allowed(ALLOWED)


@pytest.mark.parametrize(
    ("name", "named"),
    [
        (b"authorization", "Authorization"),
        (b"host", "Host"),
        (b"origin", "Origin"),
        (b"x-account-id", "X-Account-Id"),
        (b"x-api-key", "X-API-Key"),
        (b"x-edge-agent-id", "X-Edge-Agent-Id"),
    ],
)
def test_a_header_that_must_be_single_makes_a_doubled_request_ambiguous(name, named):
    assert request((name, b"a"), (name, b"b")).fault == f"{named} may be given once"


@pytest.mark.parametrize("name", ["api_key", "edge_agent_id", "jwt", "token", "x_account_id"])
def test_two_different_credentials_in_the_query_are_ambiguous(name):
    twice = f"{name}=a&{name}=b".encode()
    assert request(query=twice).fault == f"the query has two different values of {name}"
    assert not request(query=f"{name}=a&{name}=a&utm=1&utm=2".encode()).fault


def test_a_query_of_too_many_fields_is_a_fault_and_not_an_exception():
    assert not request(query=b"&".join([b"a=1"] * 100)).fault
    assert "100 fields" in request(query=b"&".join([b"a=1"] * 101)).fault


def test_underscore_headers_do_not_exist():
    assert "x_forwarded_for" not in request((b"x_forwarded_for", b"1.2.3.4")).headers


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (b"Bearer abc", "abc"),
        (b"bearer abc", "abc"),
        (b"Basic abc", ""),
        (b"Bearer ", ""),
        (b"Bearer", ""),
    ],
)
def test_only_a_bearer_is_a_token(header, token):
    assert request((b"authorization", header)).bearer == token


@pytest.mark.parametrize(
    ("host", "allowed", "passes"),
    [
        ("chat.example", ["chat.example"], True),
        ("chat.example:8000", ["chat.example"], True),
        ("CHAT.example", ["chat.example"], True),
        ("127.0.0.1:80", ["127.0.0.1"], True),
        ("[::1]:80", ["[::1]"], True),
        ("a.chat.example", [".chat.example"], True),
        ("chat.example", [".chat.example"], True),
        ("evil.example", ["chat.example"], False),
        ("evilchat.example", [".chat.example"], False),
        ("", ["chat.example"], False),
        ("user@chat.example", ["chat.example"], False),
        ("chat.example/x", ["chat.example"], False),
        ("anything", ["*"], True),
    ],
)
def test_hosts_follow_the_rule_of_allowed_hosts(host, allowed, passes):
    assert Handshake(path="/", headers={"host": host}).host_allowed(allowed) is passes


@pytest.mark.parametrize(
    ("header", "value"),
    [
        (b"sessionid=abc", "abc"),
        (b'theme=dark;sessionid = "abc" ', "abc"),
        (b"sessionid=first; sessionid=last", "last"),
        (b"xsessionid=abc; sessionid2=abc", ""),
        (b"sessionid", ""),
        (b"", ""),
    ],
)
def test_a_cookie_is_read_as_django_reads_it(header, value):
    assert request((b"cookie", header)).cookie("sessionid") == value
    assert parse_cookie(header.decode()).get("sessionid", "") == value


def test_the_query_keeps_blank_values_and_is_never_shown():
    shown = request(query=b"token=&x=s3cret")
    assert shown.query == {"token": "", "x": "s3cret"}
    assert "s3cret" not in repr(shown)
