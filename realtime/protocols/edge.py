"""000, edge agents: commands down, acknowledgements up.

Source: PROTOCOLS.md section 1. Handshake: `Authorization: Bearer`, `edge_agent_id` in the query or
`X-Edge-Agent-Id`. Frames in: ping, command_ack, status; out: pong, command, error. At most 1 MiB.
Closes, after accepting: 4001 no bearer, 1008 bad credentials or revoked, 4009 replaced by a newer
connection, 1012 restart, 4008 slow reader, 1009 too large.
"""

from __future__ import annotations

from typing import Any, ClassVar

from realtime.core import acks, addresses, events, wire
from realtime.core.credentials import AgentSecret, Credential, bearer_of
from realtime.core.effects import Ask, Call, Effects, Join, Send, SendText, Touch
from realtime.core.errors import GatewayError, MalformedFrame, OriginRefused, Replaced
from realtime.core.events import Event
from realtime.core.handshake import Handshake
from realtime.core.operations import HoldAgent, ReportStatus, TakeCommands
from realtime.core.protocol import Protocol

PONG = '{"type":"pong"}'  # a client prints the raw text: one key, no spaces

# The refs of what this protocol asks for by itself.
HOLD, TAKE, ACK = "hold", "take", "ack"


class EdgeProtocol(Protocol):
    __slots__ = ("_agent_id", "_held", "_refused_hold")

    name: ClassVar[str] = "edge"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._agent_id = ""
        self._refused_hold = False  # it could not be written that this socket holds the agent
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
        """An agent says an acknowledgement once: one that is dropped is lost."""
        return frame["type"] not in {"ping", "command_ack"}

    # --- conversation ---

    def handshake(self, request: Handshake) -> Credential:
        """What is missing is judged with the rest: every failure at the door counts (1.6).

        An agent is no page: whoever names an Origin, ours too, is none (RELIABILITY.md I18).
        Raises OriginRefused.
        """
        if "origin" in request.headers:
            raise OriginRefused("agents send no Origin")
        asked = request.query.get("edge_agent_id", "")
        named = request.headers.get("x-edge-agent-id", "")
        self._agent_id = asked or named
        return AgentSecret(
            bearer=bearer_of(request.headers.get("authorization", "")),
            agent_id=self._agent_id,
            named=named,
            address=request.address,
        )

    def opened(self, ref: str) -> Effects:
        """Nothing is said: the first frame is the pong or a command (1.4)."""
        who = self.principal
        agent = addresses.agent(who.account, who.id)
        return [Join(agent), self._hold()]

    def receive(self, frame: dict[str, Any]) -> Effects:
        match frame["type"]:
            case "ping":
                return [Touch(), SendText(PONG), *self._hold_after_all()]
            case "command_ack":
                return [Call(acks.read(frame), ACK)]
            case "status":
                return [Call(ReportStatus(status=acks.body(frame)))]
            case _:
                return []  # agents say more than we read

    def replied(self, ref: str, result: Any) -> Effects:
        match ref:
            case "hold" | "ack":
                return [self._take()]  # the backlog first; then there is room in the window
            case "take":
                more = [self._take(called=True)] if result["more"] else []
                return [*[Send(command) for command in result["commands"]], *more]
            case _:
                return []

    def failed(self, ref: str, error: GatewayError) -> Effects:
        self._refused_hold = self._refused_hold or ref == HOLD
        return super().failed(ref, error)

    def deliver(self, event: Event) -> Effects:
        match event.name:
            case events.AGENT_HELD if event.data["connection"] == self.connection:
                self._held = True
                return []
            case events.AGENT_HELD if self._held:
                return self.failed("", Replaced())
            case events.COMMANDS_DUE:
                return [self._take(called=True)]
            case events.RESYNC:
                return [self._take()]
            case _:
                return []

    def _hold(self) -> Ask:
        return Ask(HoldAgent(connection=self.connection), HOLD)

    def _hold_after_all(self) -> Effects:
        """Once more, where the database was away when this socket came."""
        if not self._refused_hold:
            return []
        self._refused_hold = False
        return [self._hold()]

    def _take(self, *, called: bool = False) -> Ask:
        return Ask(TakeCommands(connection=self.connection, called=called), TAKE)

    @property
    def place(self) -> str:
        return "edge"

    @property
    def client_id(self) -> str:
        return self._agent_id
