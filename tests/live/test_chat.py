"""The main job over real sockets, on the server as its users start it."""

from __future__ import annotations

import asyncio

import pytest

from tests.services.people import key_of

pytestmark = pytest.mark.live


@pytest.fixture(params=["sqlite", "postgres"])
def server(serve, request):
    """The embedded default, and PostgreSQL with Redis."""
    return serve(database=request.param)


async def test_a_message_is_answered_streamed_and_found_in_the_history(server, join):
    alice = await join(server, token=server.token, user_id="alice")
    answer = await alice.ask("chat.send", message="hello big world", sessionKey="s", stream=True)
    assert answer["content"] == "hello big world"
    kinds = alice.run_events(answer["runId"])
    assert kinds == ["run.started", "chunk", "chunk", "chunk", "run.completed"]
    assert alice.frames[-1]["type"] == "res", "the answer comes last"
    history = (await alice.ask("chat.history", sessionKey="s"))["messages"]
    assert [(m["role"], m["content"]) for m in history] == [
        ("user", "hello big world"),
        ("assistant", "hello big world"),
    ]


async def test_without_stream_there_are_no_chunks(server, join):
    alice = await join(server, token=server.token, user_id="alice")
    answer = await alice.ask("chat.send", message="hello big world", sessionKey="s")
    assert alice.run_events(answer["runId"]) == ["run.started", "run.completed"]


async def test_a_slow_run_can_be_steered_and_aborted_on_the_same_socket(server, join):
    alice = await join(server, token=server.token, user_id="alice")
    pending = await alice.send("chat.send", message="slow 60", sessionKey="s", stream=True)
    await alice.event("agent", "chunk")
    assert (await alice.ask("chat.session.status", sessionKey="s"))["isRunning"]
    assert await alice.ask("chat.send", message="and this", sessionKey="s") == {"injected": True}
    await alice.frame(
        lambda f: f.get("event") == "agent" and "and this" in str(f["payload"]["payload"])
    )
    cancelled = await alice.ask("chat.send", message=" STOP ", sessionKey="s")
    assert cancelled == {"cancelled": True, "aborted": True}
    assert (await alice.answer(pending))["payload"] == {"cancelled": True}
    assert not (await alice.ask("chat.session.status", sessionKey="s"))["isRunning"]


async def test_a_run_outlives_its_socket(server, join):
    alice = await join(server, token=server.token, user_id="alice")
    await alice.send("chat.send", message="slow 1", sessionKey="s")
    run = (await alice.event("agent", "run.started"))["runId"]
    await alice.socket.close()
    again = await join(server, token=server.token, user_id="alice")
    async with asyncio.timeout(30):
        while (await again.ask("chat.session.status", sessionKey="s"))["isRunning"]:
            await asyncio.sleep(0.05)
    messages = (await again.ask("chat.history", sessionKey="s"))["messages"]
    assert messages[-1]["role"] == "assistant"
    assert "run.failed" not in again.run_events(run)


async def test_the_same_message_id_is_one_message(server, join):
    alice = await join(server, token=server.token, user_id="alice")
    said = {"message": "slow 0.5", "sessionKey": "s", "messageId": "m-1"}
    first, second = await alice.send("chat.send", **said), await alice.send("chat.send", **said)
    answers = [(await alice.answer(number))["payload"] for number in (first, second)]
    assert answers[0] == answers[1]
    assert await alice.ask("chat.send", **said) == answers[0]
    history = (await alice.ask("chat.history", sessionKey="s"))["messages"]
    assert [m["role"] for m in history] == ["user", "assistant"]


async def test_a_session_is_its_owners_and_the_accounts_administrators(server, join):
    alice = await join(server, token=key_of("alice"))
    bob = await join(server, token=key_of("bob"))
    admin = await join(server, token=key_of("root"))
    carol = await join(server, token=key_of("carol"))
    await alice.ask("chat.send", message="mine", sessionKey="s")
    for method in ("chat.history", "chat.inject", "chat.abort", "chat.session.status", "chat.send"):
        params = {"sessionKey": "s", "message": "x"}
        assert (await bob.refused(method, **params))["code"] == "FORBIDDEN"
        if method != "chat.send":  # hers, of her own account, is created by it
            assert (await carol.refused(method, **params))["code"] == "NOT_FOUND"
    assert (await admin.ask("chat.history", sessionKey="s"))["messages"]
    assert [s["key"] for s in (await bob.ask("sessions.list"))["sessions"]] == []
    assert [s["key"] for s in (await admin.ask("sessions.list"))["sessions"]] == ["s"]


async def test_run_events_reach_the_user_and_administrators_and_nobody_else(server, join):
    key = key_of("alice")
    alice, phone = await join(server, token=key), await join(server, token=key)
    bob = await join(server, token=key_of("bob"))
    admin = await join(server, token=key_of("root"))
    carol = await join(server, token=key_of("carol"))
    answer = await alice.ask("chat.send", message="one two", sessionKey="s", stream=True)
    expected = ["run.started", "chunk", "chunk", "run.completed"]
    for watcher in (phone, admin):
        await watcher.event("agent", "run.completed")
        assert watcher.run_events(answer["runId"]) == expected
    for stranger in (bob, carol):
        await stranger.ask("health")
        told = {frame["event"] for frame in stranger.frames if frame["type"] == "event"}
        assert told <= {"resync"}, "which all hear when Redis was slow for a moment"


async def test_pairing_from_code_to_chat(server, join):
    admin = await join(server, token=key_of("root"))
    browser = await join(server)
    pending = await browser.ask("connect", user_id="alice")
    assert pending["status"] == "pending_pairing"
    assert (await admin.event("device.pair.requested"))["code"] == pending["pairing_code"]
    assert (await browser.refused("chat.send", message="x"))["message"] == (
        "first request must be 'connect'"
    )
    sender = {"sender_id": pending["sender_id"]}
    assert (await browser.ask("browser.pairing.status", **sender)) == {"status": "pending"}
    await admin.ask("device.pair.approve", code=pending["pairing_code"].lower() + " ")
    assert (await browser.ask("browser.pairing.status", **sender)) == {
        "status": "approved",
        "approved": True,
    }
    # The id is the one that was approved, whatever the client claims later.
    device = await join(server)
    welcome = await device.ask("connect", user_id="root", **sender)
    assert (welcome["user_id"], welcome["role"]) == ("alice", "operator")
    assert (await device.ask("chat.send", message="hi"))["content"] == "hi"


async def test_a_denied_pairing_stays_outside(server, join):
    admin = await join(server, token=key_of("root"))
    stranger = await join(server, token=key_of("bob"))
    browser = await join(server)
    pending = await browser.ask("connect", user_id="mallory")
    refusal = await stranger.refused("device.pair.approve", code=pending["pairing_code"])
    assert refusal["message"] == "permission denied: device.pair.approve requires admin role"
    assert await admin.ask("device.pair.deny", code=pending["pairing_code"]) == {"denied": True}
    sender = {"sender_id": pending["sender_id"]}
    assert await browser.ask("browser.pairing.status", **sender) == {"status": "expired"}
    assert [f["event"] for f in browser.frames if f["type"] == "event"] == [], "codes do not leak"
