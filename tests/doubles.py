"""Doubles for a Connection's neighbours: a socket that records, a domain that answers as told."""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar

from realtime.bus.hub import Hub
from realtime.connection import Connection
from realtime.core import wire
from realtime.core.credentials import ConnectToken, Credential
from realtime.core.effects import Authenticate, Call, Effects, Join, Send
from realtime.core.errors import GatewayError, MalformedFrame, NotConnected
from realtime.core.events import Event
from realtime.core.handshake import Handshake
from realtime.core.limits import Buckets, Limits
from realtime.core.operations import ReadStatus
from realtime.core.principal import Principal
from realtime.core.protocol import Protocol
from realtime.neighbours import Door


class RecordingOutbound:
    """What a peer was sent, in order: texts, then ("close", code, reason)."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.waiting_bytes = 0
        self.lived_at = 0.0

    def text(self, text: str) -> None:
        self.sent.append(json.loads(text))

    def close(self, code: int, reason: str) -> None:
        self.sent.append(("close", code, reason))

    async def room(self, ended: Any) -> bool:
        return not ended()

    def discard(self) -> None:
        self.sent.append("discarded")

    def gone(self) -> None:
        self.sent.append("gone")


class RecordingPeer:
    def __init__(self) -> None:
        self.outbound: Any = RecordingOutbound()
        self.door: list[Any] = []

    async def accept(self, max_frame_bytes: int) -> None:
        self.door.append(("accept", max_frame_bytes))

    async def refuse(self, status: int, error: GatewayError) -> None:
        self.door.append(("refuse", status, str(error)))


class FakeServices:
    """`identity` is who every credential proves to be, or the error that it meets."""

    def __init__(self) -> None:
        self.identity: Any = Principal(id="alice", role="operator", handles=("user:alice",))
        self.answer: Any = {"ok": True}
        self.log: list[Any] = []
        self.on_arrive: Any = None

    async def authenticate(self, credential: Credential) -> Any:
        if isinstance(self.identity, Exception):
            raise self.identity
        return self.identity

    async def run(self, operation: Any, principal: Principal) -> Any:
        self.log.append(("run", operation, principal.id))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def arrive(self, arrival: Any) -> None:
        self.log.append(("arrive", arrival.principal.id))
        if self.on_arrive is not None:
            self.on_arrive()

    async def depart(self, connection: str) -> None:
        self.log.append(("depart", connection))


class ToyProtocol(Protocol):
    """Connect-first, or with `knock` a credential in the handshake; "ask" calls the domain."""

    name: ClassVar[str] = "goclaw"
    knock: Credential | None = None
    joins: ClassVar[list[Any]] = []
    heard: list[Event]

    def decode(self, text: str | bytes) -> Any:
        frame = wire.decode(text)
        if not isinstance(frame, dict):
            raise MalformedFrame
        return frame

    def encode(self, frame: Any) -> str:
        return wire.encode(frame)

    def error_frame(self, ref: str, code: str, error: GatewayError) -> Any:
        return {"error": code, "ref": ref, "message": str(error)}

    def ref(self, frame: Any) -> str:
        return str(frame.get("id", ""))

    def handshake(self, request: Handshake) -> Credential | None:
        return self.knock

    def greet(self, frame: Any) -> Effects:
        if "connect" in frame:
            return [Authenticate(ConnectToken(), self.ref(frame))]
        raise NotConnected

    def opened(self, ref: str) -> Effects:
        return [*[Join(address) for address in self.joins], Send({"welcome": self.principal.id})]

    def receive(self, frame: Any) -> Effects:
        if "connect" in frame:
            return self.greet(frame)
        if "boom" in frame:
            raise ZeroDivisionError("secret detail")
        return [Call(ReadStatus(), self.ref(frame))]

    def replied(self, ref: str, result: Any) -> Effects:
        return [Send({"reply": result, "ref": ref})]

    def deliver(self, event: Event) -> Effects:
        return [Send({"event": event.name, **event.data})]


def a_connection(
    protocol: type[Protocol] = ToyProtocol,
    *,
    hub: Hub | None = None,
    services: FakeServices | None = None,
    limits: Limits | None = None,
    per_minute: float = 0,
) -> tuple[Connection, RecordingPeer, FakeServices]:
    peer, services = RecordingPeer(), services or FakeServices()
    connection = Connection(
        protocol=protocol(connection="c1", limits=limits),
        peer=peer,
        hub=hub or Hub(),
        services=services,
        door=Door(["chat.example"], ["https://allowed.example"]),
        buckets=Buckets(per_minute=per_minute, burst=2),
    )
    return connection, peer, services


def a_request(**headers: str) -> Handshake:
    return Handshake(path="/ws", headers={"host": "chat.example", **headers}, address="192.0.2.1")


async def until(condition: Any, timeout_s: float = 20.0) -> Any:
    """Wait for `condition()` to be true, looking every few milliseconds; its value."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not (value := condition()):
        assert asyncio.get_running_loop().time() < deadline, "the condition never came true"
        await asyncio.sleep(0.005)
    return value
