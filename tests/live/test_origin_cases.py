"""The Origin cases S-24 to S-28 of the reliability page: a web page elsewhere gets no socket.

On our own server, on stock uvicorn and on `runserver`, which people leave running beside a browser.
Source: PROTOCOLS.md 0.1 (`/admin/ws`), 2.1; the table is H-05's.
"""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.services import Runserver, Serve, StockUvicorn

pytestmark = [pytest.mark.live, pytest.mark.own_server]

ALLOWED = "https://allowed.example"
PASSWORD = "a-long-and-quiet-afternoon"
MAKE_PEOPLE = f"""
from accounts.services import people
for name, role in ("boss", "admin"), ("clerk", "operator"):
    member = people.create(username=name, password={PASSWORD!r}, role=role, account="default")
    member.user.is_staff = True
    member.user.save()
"""
PLACES = ["/ws", "/goclaw/ws", "/admin/ws"]


@pytest.fixture(scope="module")
def house(serve_for_module):
    """Our own server; the others stand beside it, on the same database."""
    server = serve_for_module(database="sqlite", ALLOWED_ORIGINS=ALLOWED)
    server.run("shell", "--no-imports", "-c", MAKE_PEOPLE)
    return server


@pytest.fixture(scope="module", params=[Serve, StockUvicorn, Runserver], ids=lambda p: p.__name__)
def server(request, house, serve_for_module):
    if request.param is Serve:
        return house
    return serve_for_module(program=request.param, beside=house, ALLOWED_ORIGINS=ALLOWED)


def cookie_of(house, name):
    with httpx.Client(base_url=house.url, timeout=30) as http:
        http.get("/admin/login/")
        form = {"username": name, "password": PASSWORD, "next": "/healthz"}
        form["csrfmiddlewaretoken"] = http.cookies["csrftoken"]
        assert http.post("/admin/login/", data=form).status_code == 302
        return f"sessionid={http.cookies['sessionid']}"


@pytest.fixture(scope="module")
def cookie(house):
    """Of an administrator; what her browser sends along from every page, ours or not."""
    return cookie_of(house, "boss")


async def knock(server, path, *headers):
    """The status of an upgrade request with these header lines."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *headers,
    ]
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        answer = await asyncio.wait_for(reader.readline(), 30)
        return int(answer.split()[1])
    finally:
        writer.close()


async def let_in(server, origins, cookie):
    """(place, origin, status) of every one that was not refused with 403."""
    # Daphne itself answers 400 to an Origin that it cannot read.
    refusals = {400, 403} if isinstance(server, Runserver) else {403}
    found = []
    for place in PLACES:
        for origin in origins:
            status = await knock(server, place, f"Origin: {origin}", f"Cookie: {cookie}")
            if status not in refusals:
                found.append((place, origin[:60], status))
    return found


async def test_s24_a_page_from_elsewhere_gets_no_socket(server, cookie):
    foreign = [
        "https://evil.example",
        "http://evil.example:8000",
        f"http://evil.example:{server.port}",
        # Another program of this machine is elsewhere too.
        "http://127.0.0.1",
        "http://localhost",
        "http://localhost:3000",
        f"http://127.0.0.1:{server.port + 1}",
        f"http://localhost:{server.port}",
        f"http://[::1]:{server.port}",
        f"http://0.0.0.0:{server.port}",
        f"https://127.0.0.1:{server.port}",
        f"ws://127.0.0.1:{server.port}",
    ]
    assert await let_in(server, foreign, cookie) == []


async def test_s25_a_page_from_nowhere_gets_no_socket(server, cookie):
    opaque = [
        "null",
        "file://",
        "file:///",
        "data:",
        "about:blank",
        "chrome-extension://abcdef",
        "",
    ]
    assert await let_in(server, opaque, cookie) == []


async def test_s26_an_origin_that_looks_like_ours_gets_no_socket(server, cookie):
    own = server.url
    alike = [
        "https://allowed.example.evil.com",
        "https://evilallowed.example",
        "https://sub.allowed.example",
        "https://allowed.example:444",
        "https://allowed.example:443",  # no browser writes it so
        "http://allowed.example",
        "https://allowed.example/",
        "https://allowed.example@evil",
        "https://evil@allowed.example",
        "https://allowed.example.",
        "https://xn--llowed-2nf.example",
        "https://allowed.example, https://evil.example",
        "https://allowed.example https://evil.example",
        "https://[::1]",
        "https://" + "a" * 8000,
        f"{own}/",
        f"{own}.evil.example",
        f"http://127.0.0.1.:{server.port}",
        f"http://127.1:{server.port}",
        f"http://evil@127.0.0.1:{server.port}",
        "*",
    ]
    assert await let_in(server, alike, cookie) == []


async def test_s26_two_origins_are_none(server, cookie):
    for place in PLACES:
        for pair in ((ALLOWED, "https://evil.example"), (server.url, server.url)):
            headers = [f"Origin: {origin}" for origin in pair]
            assert await knock(server, place, *headers, f"Cookie: {cookie}") in {400, 403}


async def test_s27_our_own_the_listed_and_no_origin_get_a_socket(server):
    for place in ("/ws", "/goclaw/ws"):
        for origin in (server.url, server.url.upper(), ALLOWED, ALLOWED.upper()):
            assert await knock(server, place, f"Origin: {origin}") == 101, origin
        assert await knock(server, place) == 101, "programs send none"


async def test_s28_the_admins_socket_wants_her_cookie_and_our_own_origin(server, cookie):
    own, with_cookie = f"Origin: {server.url}", f"Cookie: {cookie}"
    assert await knock(server, "/admin/ws", own, with_cookie) == 101
    assert await knock(server, "/admin/ws", with_cookie) == 403, "a browser always says its origin"
    assert await knock(server, "/admin/ws", f"Origin: {ALLOWED}", with_cookie) == 403
    assert await knock(server, "/admin/ws", own) == 403
    for nobodys in ("sessionid=", "sessionid=" + "x" * 32, f"other{cookie}", f"{cookie}x"):
        assert await knock(server, "/admin/ws", own, f"Cookie: {nobodys}") == 403, nobodys


async def test_s28_the_admins_socket_is_not_for_other_staff_nor_by_bearer(server, house):
    own = f"Origin: {server.url}"
    clerk = f"Cookie: {cookie_of(house, 'clerk')}"
    assert await knock(server, "/admin/ws", own, clerk) == 403
    token = f"Authorization: Bearer {house.token}"
    assert await knock(server, "/admin/ws", own, token) == 403
