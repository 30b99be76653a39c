"""Protocols that show a credential in the upgrade request, and a conversation that has begun."""

from __future__ import annotations

from realtime.core.credentials import ConnectToken
from realtime.core.lifecycle import Phase
from tests.doubles import ToyProtocol, a_connection, a_request


class Knocking(ToyProtocol):
    """Shows a credential in the upgrade request, on a wire that refuses or closes."""

    name = "nexus"
    knock = ConnectToken(token="t")


class Closing(Knocking):
    name = "remote"


async def opened(protocol=ToyProtocol, **kwargs):
    connection, peer, services = a_connection(protocol, **kwargs)
    await connection.open(a_request())
    await connection.receive('{"connect":1,"id":"1"}')
    assert connection.phase is Phase.OPEN
    peer.outbound.sent.clear()
    return connection, peer, services
