"""Revoking a key, a device or a user ends its sockets in two seconds or less, and nobody else's."""

from __future__ import annotations

import httpx
import pytest

from tests.live.line import SOON_S
from tests.services.people import key_of

pytestmark = pytest.mark.live


@pytest.fixture(params=["sqlite", "postgres"])
def server(serve, request):
    return serve(database=request.param)


async def test_commands_act_on_a_running_server(server, join):
    """On SQLite there is no bus at all: the outbox is followed."""
    bystander = await join(server, token=key_of("bob"))
    browser = await join(server)
    pending = await browser.ask("connect", user_id="alice")
    server.run("approve_pairing", pending["pairing_code"])
    device = await join(server, sender_id=pending["sender_id"])
    server.run("revoke_pairing", pending["sender_id"])
    assert await device.closed(within_s=SOON_S) == (4003, "access was revoked")
    assert await bystander.ask("status")


async def test_a_revoked_key_closes_its_sockets(server, join):
    key, other = key_of("alice"), key_of("bob")
    alice, phone = await join(server, token=key), await join(server, token=key)
    bob = await join(server, token=other)
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=30) as http:
        (row,) = (await http.get("/api/auth/keys/")).json()["results"]
        assert (await http.delete(f"/api/auth/keys/{row['id']}/")).status_code in {200, 204}
    for client in (alice, phone):
        assert (await client.closed(within_s=SOON_S))[0] == 4003
    assert await bob.ask("status")


async def test_logging_out_closes_the_users_sockets(server, join):
    alice = await join(server, token=key_of("alice"))
    bob = await join(server, token=key_of("bob"))
    server.run("create_user", "dave", "--password", "a-long-pass-phrase", "--json")
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        body = {"username": "dave", "password": "a-long-pass-phrase"}
        tokens = (await http.post("/api/auth/token/", json=body)).json()
        dave = await join(server, token=server.token, user_id="dave")
        refresh = {"refresh": tokens["refresh"]}
        answer = await http.post("/api/auth/token/revoke/", json=refresh)
        assert answer.status_code in {200, 204, 205}, answer.text
        assert (await dave.closed(within_s=SOON_S))[0] == 4003
        again = await http.post("/api/auth/token/refresh/", json=refresh)
        assert again.status_code == 401
    assert await alice.ask("status")
    assert await bob.ask("status")
