"""The same application on stock uvicorn and on daphne: everything that they can do works alike."""

from __future__ import annotations

import pytest
from websockets.exceptions import InvalidStatus

from tests.live.client import Client
from tests.live.line import SOON_S
from tests.services import Runserver, StockUvicorn
from tests.services.people import key_of

pytestmark = pytest.mark.live


@pytest.fixture(params=[StockUvicorn, Runserver], ids=["uvicorn", "daphne"])
def program(request):
    return request.param


@pytest.fixture
def server(serve, program):
    return serve(program=program, database="sqlite")


async def test_pairing_chat_and_history(server, join):
    admin = await join(server, token=key_of("root"))
    browser = await join(server)
    pending = await browser.ask("connect", user_id="alice")
    await admin.event("device.pair.requested")
    await admin.ask("device.pair.approve", code=pending["pairing_code"])
    device = await join(server, sender_id=pending["sender_id"])
    answer = await device.ask("chat.send", message="one two", sessionKey="s", stream=True)
    expected = ["run.started", "chunk", "chunk", "run.completed"]
    assert device.run_events(answer["runId"]) == expected
    assert device.frames[-1]["type"] == "res"
    assert len((await device.ask("chat.history", sessionKey="s"))["messages"]) == 2


async def test_abort_on_the_same_socket(server, join):
    alice = await join(server, token=key_of("alice"))
    pending = await alice.send("chat.send", message="slow 60", sessionKey="s", stream=True)
    await alice.event("agent", "chunk")
    assert (await alice.ask("chat.abort", sessionKey="s"))["aborted"]
    assert (await alice.answer(pending))["payload"] == {"cancelled": True}


async def test_the_stranger_is_refused_and_the_admin_passes(server, join):
    alice = await join(server, token=key_of("alice"))
    bob, root = await join(server, token=key_of("bob")), await join(server, token=key_of("root"))
    await alice.ask("chat.send", message="mine", sessionKey="s")
    assert (await bob.refused("chat.history", sessionKey="s"))["code"] == "FORBIDDEN"
    assert (await root.ask("chat.history", sessionKey="s"))["messages"]


async def test_bad_frames_are_told_and_the_socket_lives(server, join):
    alice = await join(server, token=key_of("alice"))
    for text in ("nonsense", b"[]", '{"type":"res"}'):
        await alice.socket.send(text)
    await alice.frame(lambda _: len(alice.frames) == 4)
    assert await alice.ask("status")


async def test_a_revocation_closes_with_its_code(server, join):
    browser = await join(server)
    pending = await browser.ask("connect", user_id="alice")
    server.run("approve_pairing", pending["pairing_code"])
    device = await join(server, sender_id=pending["sender_id"])
    server.run("revoke_pairing", pending["sender_id"])
    assert (await device.closed(within_s=SOON_S))[0] == 4003


async def test_no_connect_in_time_closes_with_its_code(serve, program, join):
    server = serve(program=program, database="sqlite", CONNECT_TIMEOUT_S="1")
    assert (await (await join(server)).closed())[0] == 4010


async def test_unknown_paths_and_foreign_origins_are_refused(server):
    for url, origin in [(f"{server.ws_url}x", None), (server.ws_url, "https://evil.example")]:
        with pytest.raises(InvalidStatus) as refused:
            async with Client(url, origin=origin):
                pass
        assert refused.value.response.status_code in {403, 404}
