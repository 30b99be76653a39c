"""002, remote sessions: watch a session, speak in it, steer it, or work in it.

Source: PROTOCOLS.md section 3. Handshake: `Authorization: Bearer` or the cookie `sessionKey`, with
`organization_uuid`, `replay`, `after_id` in the query. One object per frame out, newline-separated
objects in. A viewer says user, control_request, control_response, control_cancel_request,
keep_alive, and hears the session's log and what is live; a worker says what a viewer hears, and
hears what a viewer says. At most 1 MiB. Closes, after accepting: 4003 credentials, revoked, or
asked in vain too often; 4001 no such session; 4009 a newer worker; 1012 restart, 4008 slow reader,
1009 too large, 1011 our fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from realtime.core import addresses, events, wire
from realtime.core import session_messages as messages
from realtime.core.credentials import Credential, SessionTicket
from realtime.core.effects import Ask, AwaitRoom, Call, Effect, Effects, Join, Send, SendText, Touch
from realtime.core.errors import (
    GatewayError,
    InternalFault,
    MissingCredentials,
    NotFound,
    OriginRefused,
    Replaced,
    Shut,
    wire_answer,
)
from realtime.core.events import Event
from realtime.core.handshake import Handshake
from realtime.core.operations import (
    AnswerQuestion,
    AskControl,
    CancelControl,
    HoldSession,
    ReadEvents,
    SayInSession,
    WatchSession,
)
from realtime.core.protocol import Protocol
from realtime.core.session_messages import Frame
from realtime.protocols.remote import frames
from realtime.protocols.remote.work import WORK, Work

# The refs of what this protocol asks for; ASK and SAY are followed by the client's own name for it.
WATCH, HOLD, READ, ASK, SAY = "watch", "hold", "read", "ask:", "say:"


class RemoteProtocol(Protocol):
    __slots__ = (
        "_after_id",
        "_alive",
        "_heard",
        "_held",
        "_part",
        "_path_id",
        "_reading",
        "_replay",
        "_seq",
        "_session",
        "_work",
    )

    name: ClassVar[str] = "remote"
    pings_count: ClassVar[bool] = True  # who watches may have nothing to say for hours (3.7)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._path_id = self._after_id = self._part = ""
        self._replay = False
        self._session = ""  # its public id
        # The log is sent in the order of its numbers, whatever the bus brings when: the number
        # that was sent last, and the highest that has been heard of.
        self._seq = self._heard = 0
        self._reading = True  # until it is known where to begin
        self._alive = 0  # how many `keep_alive` wait for an answer, behind what is being read
        self._work: Work | None = None  # of a worker's socket
        self._held = False  # our own `session.held` has come by: later ones are of newer workers

    # --- codec ---

    def decode(self, text: str | bytes) -> list[Frame]:
        return frames.decode(text)

    def encode(self, frame: Any) -> str:
        return wire.encode(frame)

    def error_frame(self, ref: str, code: str, error: GatewayError) -> Frame:
        return frames.refusal(self._session, ref.partition(":")[2], str(error))

    def ref(self, frame: list[Frame]) -> str:
        """The first that counts: who waits for what becomes of it hears that it was refused."""
        if self._part == "worker":
            return ""
        return next((name for name in map(_name, frame) if name), "")

    def counts(self, frame: list[Frame]) -> bool:
        """What a worker says, and an answer to it, is said once: what is dropped is lost."""
        asks = {"user", "control_request"}
        return self._part != "worker" and any(one["type"] in asks for one in frame)

    # --- the door ---

    def handshake(self, request: Handshake) -> Credential:
        """A browser shows its cookie for any page: then an allowed Origin must stand by it (3.2).

        Raises MissingCredentials, OriginRefused.
        """
        self._path_id = request.parameters["session_id"]
        self._part = request.parameters["part"]
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
            works=self._part == "worker",
            address=request.address,
        )

    def opened(self, ref: str) -> Effects:
        """Nothing is said: the first frame is an event (3.2)."""
        watch = WatchSession(session_id=self._path_id, replay=self._replay, after_id=self._after_id)
        return [Call(watch, WATCH)]

    def _entered(self, found: dict[str, Any]) -> Effects:
        """Reachable first: what is said from now on is heard, what was said before is read."""
        self._session, self._seq = found["session_id"], found["seq"]
        where = addresses.session(found["account"], self._session)
        if self._part != "worker":
            return [Join(where), self._ask()]
        self._work = Work(self.connection, where, self.now)
        hold = HoldSession(
            session_id=self._session,
            connection=self.connection,
            replay=self._replay,
            after_id=self._after_id,
        )
        return [Join(where), Call(hold, HOLD)]

    def _holds(self, work: Work, found: dict[str, Any]) -> Effects:
        self._seq = found["seq"]
        work.goes_on(found["run"])
        return [*[Send(frame) for frame in found["frames"]], self._ask()]

    # --- conversation ---

    def receive(self, frame: list[Frame]) -> Effects:
        effects: list[Effect] = [Touch()]
        for one in frame:
            effects += self._heard_from_peer(one)
        return effects

    def _heard_from_peer(self, frame: Frame) -> Sequence[Effect]:
        match frame["type"]:
            case "keep_alive":
                return self._lives()
            case frames.REFUSED:
                told = frames.refusal(self._session, frame["name"], frame["why"])
                return [Send(told)] if frame["name"] else []
            case _ if self._work is not None:
                return self._work.says(frame, self._seq)
            case _:
                return self._says(frame)

    def _lives(self) -> list[Effect]:
        """Who hears the answer has heard all that was stored when it came (3.5, 3.7)."""
        if not self._reading:
            return [Send(frames.KEEP_ALIVE)]
        self._alive += 1
        return []

    def _says(self, frame: Frame) -> list[Effect]:
        """What a viewer says; unknown types are ignored."""
        match frame["type"]:
            case "user" if messages.has_words(frame):
                uuid = messages.uuid_of(frame)
                said = SayInSession(session_id=self._session, frame=frame, event_uuid=uuid)
                return [Call(said, SAY + uuid)]
            case "control_request" if messages.is_request(frame):
                asked = AskControl(
                    session_id=self._session,
                    request_id=frame["request_id"],
                    request=frame["request"],
                    connection=self.connection,
                )
                return [Call(asked, ASK + frame["request_id"])]
            case "control_request" if messages.request_id(frame):
                refused = "a control request has an object `request` with a text `subtype`"
                return [Send(frames.refusal(self._session, frame["request_id"], refused))]
            case "control_cancel_request" if messages.request_id(frame):
                cancelled = frame["request_id"]
                cancel = CancelControl(session_id=self._session, request_id=cancelled)
                return [Call(cancel, SAY + cancelled)]
            case "control_response" if messages.is_response(frame):
                answered = frame["response"]["request_id"]
                answer = AnswerQuestion(
                    session_id=self._session,
                    request_id=answered,
                    response=frame["response"],
                    connection=self.connection,
                )
                return [Call(answer, SAY + answered)]
            case _:
                return []

    def replied(self, ref: str, result: Any) -> Effects:
        if ref == WATCH:
            return self._entered(result)
        if ref == READ:
            return self._read(result)
        if ref.startswith(ASK):
            return [Send(result["frame"])] if result["frame"] is not None else []
        if ref.startswith(SAY) and result and result.get("again"):
            return [Send(frames.known(self._session, ref.removeprefix(SAY)))]
        if self._work is not None and ref == HOLD:
            return self._holds(self._work, result)
        if self._work is not None and ref.startswith(WORK):
            self._work.kept(result)
        return []

    def failed(self, ref: str, error: GatewayError) -> Effects:
        """Who cannot be shown the log has nothing to stay for."""
        if ref in (WATCH, HOLD, READ) and not isinstance(wire_answer(self.name, error), Shut):
            error = InternalFault(str(error))
        return super().failed(ref, error)

    def deliver(self, event: Event) -> Effects:
        match event.name:
            case events.SESSION_LOGGED:
                return self._logged(event)
            case events.RESYNC if not self._reading:
                return self._catch_up()
            case events.SESSION_GONE:
                return self.failed("", NotFound("session not found"))
            case _:
                return self._to_worker(event) if self._work is not None else self._to_viewer(event)

    def _to_viewer(self, event: Event) -> Effects:
        match event.name:
            case events.SESSION_SAID if event.data.get("but") != self.connection:
                return self._said(event, event.data["frame"])
            case events.SESSION_ANSWER:
                return [Send(event.data["frame"])]
            case "agent" if event.data["type"] in frames.LIVE and not self._reading:
                return [self._text(event, frames.live(event.data, self._session))]
            case _:
                return []

    def _to_worker(self, event: Event) -> Effects:
        match event.name:
            case events.SESSION_WORK if self._held:
                return [Send(event.data["frame"])]
            case events.SESSION_HELD if event.data["connection"] == self.connection:
                self._held = True
                return []
            case events.SESSION_HELD if self._held:
                return self.failed("", Replaced())
            case _:
                return []

    def _said(self, event: Event, frame: Frame) -> Effects:
        """A piece of what is being said does not go ahead of what was missed."""
        early = self._reading and frame["type"] == "stream_event"
        return [] if early else [self._text(event, frame)]

    def _text(self, event: Event, frame: Frame) -> SendText:
        return SendText(event.rendered(self.name, lambda: wire.encode(frame)))

    @property
    def place(self) -> str:
        return f"session:{self._path_id}"

    @property
    def client_id(self) -> str:
        return self._part

    # --- the log ---

    def _logged(self, event: Event) -> Effects:
        seq, frame = event.data["seq"], event.data["frame"]
        if seq <= self._seq:
            return []
        if seq == self._seq + 1 and frame is not None and not self._reading:
            self._seq = seq
            return self._shown(event, frame)
        self._heard = max(self._heard, seq)
        return self._catch_up()

    def _shown(self, event: Event, frame: Frame) -> Effects:
        """To a worker only what is for it to answer, which begins a turn or adds to one."""
        if self._work is None:
            return [self._text(event, frame)]
        run = event.data.get("work")
        if run is None:
            return []
        if run:
            self._work.goes_on(run)
        return [self._text(event, frame)]

    def _catch_up(self) -> list[Effect]:
        if self._reading:
            return []
        self._reading = True
        return [self._ask()]

    def _ask(self) -> Ask:
        works = self._work is not None
        return Ask(ReadEvents(session_id=self._session, after_seq=self._seq, work=works), READ)

    def _read(self, page: dict[str, Any]) -> Effects:
        told: list[Effect] = [Send(frame) for seq, frame in page["events"] if seq > self._seq]
        self._seq = max(self._seq, page["to"])
        if page["more"] or self._heard > self._seq:
            return [*told, AwaitRoom(), self._ask()]
        self._reading = False
        answers, self._alive = [Send(frames.KEEP_ALIVE)] * self._alive, 0
        return [*told, *answers]


def _name(frame: Frame) -> str:
    """The ref of what a viewer says and waits to hear of."""
    match frame["type"]:
        case "user":
            return SAY + messages.uuid_of(frame)
        case "control_request":
            return ASK + messages.request_id(frame)
        case _:
            return ""
