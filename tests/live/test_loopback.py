"""The cases S-04 to S-06 of the reliability page: an address of this machine is no credential.

What a web page can reach of a server on the reader's own machine is limited, checked for its origin
and never let in by itself. Source: PROTOCOLS.md 2.1, 2.4, 2.5; CONTRACT (no exempt address).
"""

from __future__ import annotations

import asyncio

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.live.client import Client
from tests.services.people import key_of

pytestmark = [pytest.mark.live, pytest.mark.own_server]

ROW_4 = "permission denied: valid token or active pairing required"


@pytest.fixture(scope="module")
def server(serve_for_module):
    """As `make run` starts it: behind nobody's proxy."""
    return serve_for_module(database="sqlite")


async def test_s04_guessing_is_slowed_down_whatever_socket_it_comes_by(serve, join):
    """The limit is the address's: a page that opens a new socket for each guess gains nothing."""
    server = serve(database="sqlite")  # its own: the address has had its guesses afterwards
    guessers = [await join(server) for _ in range(5)]
    told = [
        await guesser.refused("connect", token=f"guess-{turn}", user_id="alice")
        for turn in range(4)
        for guesser in guessers
    ]
    assert {refusal["code"] for refusal in told} == {"UNAUTHORIZED"}
    for guesser in guessers:
        await guesser.guess_on()
    # The right one, guessed at last, is not heard either; a paired browser would be.
    by_header = {"additional_headers": {"Authorization": f"Bearer {server.token}"}}
    for options, given in [({}, {"token": server.token}), (by_header, {})]:
        await guessers[0].guess_on()
        late = await join(server, options=options)
        assert (await late.refused("connect", **given))["code"] == "RESOURCE_EXHAUSTED"


async def test_s04_passwords_are_not_guessed_from_loopback(server):
    server.run("create_user", "dave", "--password", "a-long-pass-phrase", "--json")
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:

        async def log_in(password):
            body = {"username": "dave", "password": password}
            return (await http.post("/api/auth/token/", json=body)).status_code

        assert await log_in("a-long-pass-phrase") == 200
        guesses = [await log_in(f"guess-{number}") for number in range(11)]
        assert guesses[:9] == [401] * 9
        assert guesses[10] == 429
        assert await log_in("a-long-pass-phrase") == 429


async def test_s05_nothing_from_loopback_is_approved_by_itself(server, join):
    admin = await join(server, token=key_of("root"))
    local = [
        {},
        {"origin": server.url},
        {"additional_headers": {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"}},
    ]
    waiting = []
    for user, options in zip(("system", "root", "alice"), local, strict=True):
        browser = await join(server, options=options)
        answer = await browser.ask("connect", user_id=user)
        assert answer["status"] == "pending_pairing"
        waiting.append((browser, {"sender_id": answer["sender_id"]}))
    pending = (await admin.ask("device.pair.list"))["pending"]
    assert len(pending) == 3
    assert {row["metadata"]["address"] for row in pending} == {"127.0.0.1"}
    for browser, sender in waiting:
        assert await browser.ask("browser.pairing.status", **sender) == {"status": "pending"}
        again = await browser.ask("connect", **sender)
        assert again["status"] == "pending_pairing"
        assert (await browser.refused("health"))["message"] == "first request must be 'connect'"
    fourth = await join(server)
    assert (await fourth.refused("connect", user_id="x"))["message"] == ROW_4, "3, as everywhere"


async def test_s05_what_loopback_asks_without_credentials_is_refused(server):
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        for path in ("/api/pairings/", "/api/connections/", "/api/auth/keys/"):
            for claim in ({}, {"X-Forwarded-For": "127.0.0.1"}, {"X-GoClaw-User-Id": "system"}):
                assert (await http.get(path, headers=claim)).status_code == 401, path
        assert (await http.get("/admin/")).status_code == 302


async def test_s06_a_page_of_another_local_program_gets_no_socket_however_often_it_asks(server):
    async def knock(origin):
        with pytest.raises(InvalidStatus) as refused:
            async with Client(server.ws_url, origin=origin):
                pass
        return refused.value.response.status_code

    ports = [f"http://127.0.0.1:{port}" for port in (80, 3000, server.port - 1)]
    elsewhere = ["https://evil.example", "null", f"http://localhost:{server.port}", *ports]
    assert await asyncio.gather(*[knock(origin) for origin in elsewhere * 5]) == [403] * 30


async def test_s06_a_name_that_was_bent_to_loopback_is_not_served(server):
    """DNS rebinding: the page's own name leads here, so its Origin and Host agree."""
    headers = {"Host": f"evil.example:{server.port}"}
    with pytest.raises(InvalidStatus) as refused:
        async with Client(
            server.ws_url,
            origin=f"http://evil.example:{server.port}",
            additional_headers=headers,
        ):
            pass
    assert refused.value.response.status_code == 400
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        for path in ("/", "/admin/login/", "/api/auth/keys/"):
            assert (await http.get(path, headers=headers)).status_code == 400, path
