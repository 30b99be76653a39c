"""000, edge agents: commands down, acknowledgements up.

Source: PROTOCOLS.md section 1. Handshake: `Authorization: Bearer`, `edge_agent_id` in the query or
`X-Edge-Agent-Id`. Frames in: ping, command_ack, status; out: pong, command, error. At most 1 MiB.
Closes, after accepting: 4001 no bearer, 1008 bad credentials or revoked, 4009 replaced by a newer
connection, 1012 restart, 4008 slow reader, 1009 too large.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from realtime.core import addresses, events, wire
from realtime.core.credentials import AgentSecret, Credential
from realtime.core.effects import Ask, Call, Effects, Join, Send, SendText, Touch
from realtime.core.errors import (
    BadCredentials,
    GatewayError,
    MalformedFrame,
    MissingCredentials,
    Replaced,
)
from realtime.core.events import Event
from realtime.core.handshake import Handshake
from realtime.core.operations import AcknowledgeCommand, HoldAgent, ReportStatus, TakeCommands
from realtime.core.protocol import Protocol

PONG = '{"type":"pong"}'  # a client prints the raw text: one key, no spaces

# The refs of what this protocol asks for by itself.
HOLD, TAKE, ACK = "hold", "take", "ack"


class Ack(msgspec.Struct, frozen=True):
    """Both shapes of 1.3; absent keys stay empty."""

    command_id: str
    status: str = ""
    success: bool | None = None
    error: str | None = None
    completed_at: str | None = None
    timestamp: str | None = None

    @property
    def operation(self) -> AcknowledgeCommand:
        status = self.status
        if not status and self.success is not None:
            status = "completed" if self.success else "failed"
        return AcknowledgeCommand(
            command_id=self.command_id,
            status=status,
            error=self.error or "",
            completed_at=self.completed_at or self.timestamp or "",
        )


class EdgeProtocol(Protocol):
    name: ClassVar[str] = "edge"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._agent_id = ""
        self._held = False  # our own `edge.held` has come by: later ones are of newer connections

    # --- codec ---

    def decode(self, text: str | bytes) -> dict[str, Any]:
        frame = wire.decode(text)
        if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
            raise MalformedFrame("invalid frame: expected an object with a text `type`")
        return frame

    def encode(self, frame: Any) -> str:
        return wire.encode(frame)

    def error_frame(self, ref: str, code: str, error: GatewayError) -> dict[str, Any]:
        return {"type": "error", "data": {"code": code, "message": str(error)}}

    def counts(self, frame: dict[str, Any]) -> bool:
        return frame["type"] != "ping"

    # --- conversation ---

    def handshake(self, request: Handshake) -> Credential:
        """Raises MissingCredentials (4001), BadCredentials (1008)."""
        asked = request.query.get("edge_agent_id", "")
        named = request.headers.get("x-edge-agent-id", "")
        self._agent_id = asked or named
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer":
            raise MissingCredentials("Missing or invalid Authorization header")
        if not self._agent_id:
            raise BadCredentials("edge_agent_id is required")
        if named and named != self._agent_id:
            raise BadCredentials("X-Edge-Agent-Id differs from edge_agent_id")
        return AgentSecret(bearer=bearer, agent_id=self._agent_id, address=request.address)

    def opened(self, ref: str) -> Effects:
        """Nothing is said: the first frame is the pong or a command (1.4)."""
        who = self.principal
        agent = addresses.agent(who.account, who.id)
        return [Join(agent), Ask(HoldAgent(connection=self.connection), HOLD)]

    def receive(self, frame: dict[str, Any]) -> Effects:
        match frame["type"]:
            case "ping":
                return [Touch(), SendText(PONG)]
            case "command_ack":
                ack = wire.shape(_body(frame, "command_id"), Ack, "malformed command_ack")
                return [Call(ack.operation, ACK)]
            case "status":
                return [Call(ReportStatus(status=_body(frame)))]
            case _:
                return []  # agents say more than we read

    def replied(self, ref: str, result: Any) -> Effects:
        match ref:
            case "hold" | "ack":
                return [self._take()]  # the backlog first; then there is room in the window
            case "take":
                more = [self._take()] if result["more"] else []
                return [*[Send(command) for command in result["commands"]], *more]
            case _:
                return []

    def deliver(self, event: Event) -> Effects:
        match event.name:
            case events.AGENT_HELD if event.data["connection"] == self.connection:
                self._held = True
                return []
            case events.AGENT_HELD if self._held:
                return self.failed("", Replaced())
            case events.COMMANDS_DUE | events.RESYNC:
                return [self._take()]
            case _:
                return []

    def _take(self) -> Ask:
        return Ask(TakeCommands(connection=self.connection), TAKE)

    @property
    def place(self) -> str:
        return "edge"

    @property
    def client_id(self) -> str:
        return self._agent_id


def _body(frame: dict[str, Any], needed: str = "") -> dict[str, Any]:
    """The fields of a frame: under `data`, under `payload`, or at the top (1.3)."""
    top = {key: value for key, value in frame.items() if key != "type"}
    places = [frame.get("data"), frame.get("payload"), top]
    found = [place for place in places if isinstance(place, dict)]
    return next((place for place in found if needed in place), found[0])
