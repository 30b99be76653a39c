"""002, remote sessions: watch a session, speak in it, steer it.

Source: PROTOCOLS.md section 3. Handshake: `Authorization: Bearer` or the cookie `sessionKey`, with
`organization_uuid`, `replay`, `after_id` in the query. One object per frame out, newline-separated
objects in. Frames in: user, keep_alive; out: the session's log, stream_event. At most 1 MiB.
Closes, after accepting: 4003 credentials, revoked, or asked in vain too often; 4001 no such
session; 1012 restart, 4008 slow reader, 1009 too large, 1011 our fault.
"""

from __future__ import annotations

from typing import Any, ClassVar

from realtime.core import addresses, events, wire
from realtime.core.credentials import Credential, SessionTicket
from realtime.core.effects import Ask, AwaitRoom, Call, Effect, Effects, Join, Send, SendText, Touch
from realtime.core.errors import (
    GatewayError,
    InternalFault,
    MalformedFrame,
    MissingCredentials,
    NotFound,
    OriginRefused,
    Shut,
    wire_answer,
)
from realtime.core.events import Event
from realtime.core.handshake import Handshake
from realtime.core.operations import ReadEvents, SayInSession, WatchSession
from realtime.core.protocol import Protocol

MAX_OBJECTS = 1000  # of one frame
MAX_UUID = 128  # characters

# The refs of what this protocol asks for; the last is followed by the uuid of what was said.
WATCH, READ, SAY = "watch", "read", "say:"

Frame = dict[str, Any]


class RemoteProtocol(Protocol):
    __slots__ = ("_after_id", "_heard", "_path_id", "_reading", "_replay", "_seq", "_session")

    name: ClassVar[str] = "remote"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._path_id = self._after_id = ""
        self._replay = False
        self._session = ""  # its public id
        # A viewer is sent the log in the order of its numbers, whatever the bus brings when: the
        # number that was sent last, and the highest that has been heard of.
        self._seq = self._heard = 0
        self._reading = False

    # --- codec ---

    def decode(self, text: str | bytes) -> list[Frame]:
        """The objects of a frame, those left out that are none or have no text `type`."""
        try:
            said = [wire.decode(text)]
        except MalformedFrame:
            said = [_decoded(line) for line in _lines(text)]
        return [one for one in said if isinstance(one, dict) and isinstance(one.get("type"), str)]

    def encode(self, frame: Any) -> str:
        return wire.encode(frame)

    def error_frame(self, ref: str, code: str, error: GatewayError) -> Frame:
        refused = {"subtype": "error", "request_id": ref.partition(":")[2], "error": str(error)}
        return {"type": "control_response", "session_id": self._session, "response": refused}

    def counts(self, frame: list[Frame]) -> bool:
        return any(one["type"] in {"user", "control_request"} for one in frame)

    # --- conversation ---

    def handshake(self, request: Handshake) -> Credential:
        """A browser shows its cookie for any page: then an allowed Origin must stand by it (3.2).

        Raises MissingCredentials, OriginRefused.
        """
        self._path_id = request.parameters["session_id"]
        self._replay = request.query.get("replay", "").lower() in {"true", "1"}
        self._after_id = request.query.get("after_id", "")
        token = request.bearer
        if not token:
            token = request.cookie("sessionKey")
            if token and "origin" not in request.headers:
                raise OriginRefused("a cookie needs an Origin")
        if not token:
            raise MissingCredentials
        asked = request.query.get("organization_uuid", "")
        return SessionTicket(
            token=token,
            organization=asked or request.headers.get("x-organization-uuid", ""),
            works=request.parameters["part"] == "worker",
            address=request.address,
        )

    def opened(self, ref: str) -> Effects:
        """Nothing is said: the first frame is an event (3.2)."""
        asked = WatchSession(session_id=self._path_id, replay=self._replay, after_id=self._after_id)
        return [Call(asked, WATCH)]

    def receive(self, frame: list[Frame]) -> Effects:
        effects: list[Effect] = [Touch()]
        for one in frame:
            if one["type"] == "user":
                effects += self._say(one)
        return effects

    def replied(self, ref: str, result: Any) -> Effects:
        match ref:
            case "watch":
                self._session, self._seq = result["session_id"], result["seq"]
                where = addresses.session(result["account"], self._session)
                return [Join(where), *self._catch_up()]
            case "read":
                return self._read(result)
            case _:
                return []

    def failed(self, ref: str, error: GatewayError) -> Effects:
        """Who cannot be shown the log has nothing to stay for."""
        if ref in (WATCH, READ) and not isinstance(wire_answer(self.name, error), Shut):
            error = InternalFault(str(error))
        return super().failed(ref, error)

    def deliver(self, event: Event) -> Effects:
        match event.name:
            case events.SESSION_LOGGED:
                return self._logged(event)
            case events.SESSION_SAID if not self._reading:
                return [
                    SendText(event.rendered(self.name, lambda: wire.encode(event.data["frame"])))
                ]
            case "agent" if event.data["type"] == "chunk" and not self._reading:
                return [SendText(event.rendered(self.name, lambda: self._partial(event.data)))]
            case events.RESYNC:
                return self._catch_up()
            case events.SESSION_GONE:
                return self.failed("", NotFound("session not found"))
            case _:
                return []

    @property
    def place(self) -> str:
        return f"session:{self._path_id}"

    # --- speaking ---

    def _say(self, frame: Frame) -> Effects:
        if not _is_said(frame):
            return []
        given = frame.get("uuid")
        uuid = given if isinstance(given, str) and len(given) <= MAX_UUID else ""
        said = SayInSession(session_id=self._session, frame=frame, event_uuid=uuid)
        return [Call(said, SAY + uuid)]

    # --- the log ---

    def _logged(self, event: Event) -> Effects:
        seq, frame = event.data["seq"], event.data["frame"]
        if seq <= self._seq:
            return []
        if seq == self._seq + 1 and frame is not None and not self._reading:
            self._seq = seq
            return [SendText(event.rendered(self.name, lambda: wire.encode(frame)))]
        self._heard = max(self._heard, seq)
        return self._catch_up()

    def _catch_up(self) -> list[Effect]:
        if self._reading:
            return []
        self._reading = True
        return [self._ask()]

    def _ask(self) -> Ask:
        return Ask(ReadEvents(session_id=self._session, after_seq=self._seq), READ)

    def _read(self, page: dict[str, Any]) -> Effects:
        told: list[Effect] = [Send(frame) for seq, frame in page["events"] if seq > self._seq]
        self._seq = max(self._seq, page["to"])
        if page["more"] or self._heard > self._seq:
            return [*told, AwaitRoom(), self._ask()]
        self._reading = False
        return told

    def _partial(self, data: Frame) -> str:
        """A piece of an answer that is still being given."""
        delta = {"type": "text_delta", "text": data["payload"]["content"]}
        frame = {
            "type": "stream_event",
            "uuid": data["_uuid"],
            "session_id": self._session,
            "created_at": data["_at"],
            "parent_tool_use_id": None,
            "event": {"type": "content_block_delta", "index": 0, "delta": delta},
        }
        return wire.encode(frame)


def _lines(text: str | bytes) -> list[str] | list[bytes]:
    lines: Any = text.split("\n") if isinstance(text, str) else text.split(b"\n")
    found: list[str] | list[bytes] = [line for line in lines if line.strip()][:MAX_OBJECTS]
    return found


def _decoded(line: str | bytes) -> Any:
    """None for what is no JSON: the other lines count."""
    try:
        return wire.decode(line)
    except MalformedFrame:
        return None


def _is_said(frame: Frame) -> bool:
    """Whether a `user` frame has something to say: a text, or blocks."""
    message = frame.get("message")
    if not isinstance(message, dict):
        return False
    content = message.get("content")
    if isinstance(content, list):
        return bool(content) and all(isinstance(block, dict) for block in content)
    return isinstance(content, str) and bool(content.strip())
