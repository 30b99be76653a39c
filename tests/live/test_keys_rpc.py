"""`api_keys.*` over real sockets: a key works at once, and its revocation closes what it opened."""

from __future__ import annotations

import pytest

from tests.services.people import key_of

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def server(serve_for_module):
    return serve_for_module(database="sqlite")


async def test_a_key_of_somebody_without_a_user_lives_and_ends(server, join):
    robot = await join(server, token=server.token, user_id="robot")
    refusal = await robot.refused("api_keys.create", name="probe")
    assert refusal["message"].startswith("scopes are required")
    scopes = ["operator.write"]
    made = await robot.ask("api_keys.create", name="probe", scopes=scopes, expires_in=3600)
    assert made["scopes"] == scopes
    probe = await join(server)
    welcome = await probe.ask("connect", token=made["key"], user_id="root")
    assert (welcome["user_id"], welcome["role"]) == ("robot", "operator"), "the id is the key's"
    assert (await probe.ask("chat.send", message="hi", sessionKey="robots"))["content"] == "hi"
    rows = (await robot.ask("api_keys.list"))["api_keys"]
    [row] = [row for row in rows if row["id"] == made["id"]]
    assert (row["owner_id"], row["prefix"]) == ("robot", made["prefix"])
    assert "key" not in row and "user" not in row and "last_used_at" in row
    assert await robot.ask("api_keys.revoke", id=int(made["id"])) == {"status": "revoked"}
    assert await probe.closed() == (4003, "access was revoked")
    late = await join(server)
    assert (await late.refused("connect", token=made["key"]))["code"] == "UNAUTHORIZED"
    assert made["key"][13:] not in server.log()


async def test_another_account_sees_and_ends_no_key_of_ours(server, join):
    root = await join(server, token=key_of("root"))
    carol = await join(server, token=key_of("carol"))
    bob = await join(server, token=key_of("bob"))
    made = await root.ask("api_keys.create", name="ours")
    ours = await join(server, token=made["key"])
    assert made["id"] not in [row["id"] for row in (await carol.ask("api_keys.list"))["api_keys"]]
    assert (await carol.refused("api_keys.revoke", id=made["id"]))["code"] == "NOT_FOUND"
    default = (await root.ask("tenants.mine"))["tenants"][0]["id"]
    refusal = await carol.refused("api_keys.create", name="theirs", tenant_id=default)
    assert refusal["code"] == "NOT_FOUND"
    refusal = await bob.refused("api_keys.revoke", id=made["id"])
    assert refusal["message"] == "permission denied: api_keys.revoke requires admin role"
    assert await ours.ask("status")


async def test_a_key_does_what_its_scope_is_for_and_nothing_else(server, join):
    root = await join(server, token=key_of("root"))
    made = await root.ask("api_keys.create", name="desk", scopes=["operator.pairing"])
    desk = await join(server, token=made["key"])
    assert (await desk.ask("device.pair.request", senderId="tv", channel="telegram"))["code"]
    refusal = await desk.refused("chat.send", message="x", sessionKey="desk")
    assert refusal["code"] == "UNAUTHORIZED"
    assert refusal["message"] == "permission denied: chat.send requires scope operator.write"
