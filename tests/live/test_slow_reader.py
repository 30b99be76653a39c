"""A peer that does not read is closed and costs nobody else anything."""

from __future__ import annotations

import asyncio
import itertools
import json

import pytest
from websockets.asyncio.client import connect

from tests.doubles import until
from tests.services.people import key_of

pytestmark = [pytest.mark.live, pytest.mark.own_server]


async def test_a_peer_that_stops_reading_is_closed_and_the_others_go_on(serve, join):
    server = serve(database="sqlite", OUTBOUND_MAX_BYTES="262144")
    alice = await join(server, token=key_of("alice"), options={"max_size": None})
    phone = await join(server, token=key_of("alice"), options={"max_size": None})
    hello = {"type": "req", "id": "1", "method": "connect", "params": {"token": key_of("alice")}}
    async with connect(server.ws_url, max_queue=1, proxy=None, close_timeout=0.1) as stalled:
        await stalled.send(json.dumps(hello))
        await stalled.recv()  # and nothing after that
        said = "x" * 200_000  # less than may wait: nobody who reads is slow
        numbers = itertools.count()  # each in a session of its own: no history is read
        async with asyncio.timeout(100):
            while '"code": 4008' not in server.log() and "code=4008" not in server.log():
                key = f"s{next(numbers)}"
                answer = await alice.ask("chat.send", message=said, sessionKey=key)
                assert answer["content"] == said
                alice.frames.clear()
                phone.frames.clear()
        # Cut off, though it never answers the close.
        await until(lambda: server.log().count("disconnected") == 1)
    assert await alice.ask("status")
    assert await phone.ask("status")
