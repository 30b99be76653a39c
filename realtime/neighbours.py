"""What a Connection needs of its neighbours: a socket, the domain, a door, some timers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from typing import Protocol as Interface

from realtime.bus.outbound import Outbound
from realtime.core.credentials import Credential
from realtime.core.errors import GatewayError, HostRefused, MalformedFrame, OriginRefused
from realtime.core.handshake import Handshake
from realtime.core.operations import Operation
from realtime.core.principal import Principal
from realtime.core.protocol import Protocol


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody is present: one row of Presence."""

    connection: str
    principal: Principal
    protocol: str
    place: str
    client_id: str
    address: str

    @classmethod
    def of(cls, protocol: Protocol, address: str) -> Arrival:
        return cls(
            connection=protocol.connection,
            principal=protocol.principal,
            protocol=protocol.name,
            place=protocol.place,
            client_id=protocol.client_id,
            address=address,
        )


class Services(Interface):
    """The domain (`realtime.dispatch`). Every method may raise a GatewayError."""

    async def authenticate(self, credential: Credential) -> Any: ...
    async def run(self, operation: Operation, principal: Principal) -> Any: ...
    async def arrive(self, arrival: Arrival) -> None: ...
    async def depart(self, connection: str) -> None: ...


class PeerGone(Exception):
    """The socket ended while the peer was at the door."""


class Peer(Interface):
    """The socket (`realtime.consumers`). Both methods may raise PeerGone."""

    outbound: Outbound

    async def accept(self, max_frame_bytes: int) -> None: ...
    async def refuse(self, status: int, error: GatewayError) -> None: ...


@dataclass(frozen=True, slots=True)
class Door:
    """Who is let in from where: host names as in ALLOWED_HOSTS, exact origins."""

    hosts: Sequence[str]
    origins: Sequence[str]

    def judge(self, request: Handshake, *, shows_cookie: bool = False) -> None:
        """Raises MalformedFrame, HostRefused or OriginRefused."""
        if request.fault:
            raise MalformedFrame(request.fault)
        if not request.host_allowed(self.hosts):
            raise HostRefused
        origins = [] if shows_cookie else self.origins
        if not request.origin_allowed(origins, cookies_used=shows_cookie):
            raise OriginRefused


class Timers:
    """Named one-shot timers; setting one again replaces it."""

    # A timer further away than this could overflow; what waits that long is looked at anew sooner.
    LONGEST_S = 30 * 86400.0

    __slots__ = ("_handles",)

    def __init__(self) -> None:
        self._handles: dict[str, asyncio.TimerHandle] = {}

    def set(self, name: str, seconds: float, call: Callable[..., None], *args: Any) -> None:
        self.cancel(name)
        delay_s = min(max(0.0, seconds), self.LONGEST_S)
        self._handles[name] = asyncio.get_running_loop().call_later(delay_s, call, *args)

    def set_for(self, name: str, moment: float, call: Callable[..., None], *args: Any) -> None:
        """As `set`, for a moment in seconds since the epoch, however far away; at once if past."""
        left_s = moment - time.time()
        if left_s > 0:
            self.set(name, left_s, self.set_for, name, moment, call, *args)
        else:
            self.cancel(name)
            call(*args)

    def cancel(self, name: str) -> None:
        handle = self._handles.pop(name, None)
        if handle is not None:
            handle.cancel()

    def cancel_all(self) -> None:
        for name in list(self._handles):
            self.cancel(name)

    def __contains__(self, name: str) -> bool:
        return name in self._handles
