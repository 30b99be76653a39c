"""001's conversation. Source: PROTOCOLS.md 2.3 to 2.7."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any, ClassVar

from realtime.core import addresses, events, loglines, wire
from realtime.core.credentials import ConnectToken, Credential, PendingPairing
from realtime.core.effects import (
    Authenticate,
    Call,
    Effect,
    Effects,
    Join,
    Send,
    SendText,
    WaitFor,
)
from realtime.core.errors import GatewayError, NotConnected
from realtime.core.events import Event
from realtime.core.handshake import Handshake
from realtime.core.protocol import Protocol
from realtime.core.version import VERSION
from realtime.protocols.goclaw import frames
from realtime.protocols.goclaw.frames import Request
from realtime.protocols.goclaw.methods import handler_for
from realtime.protocols.goclaw.requests import Caller, Params, build, parse
from realtime.protocols.goclaw.tail import Follow, Tail

SERVER = {"name": "goclaw", "version": VERSION}

# What goes to a peer as it is; everything else on the bus is not for this wire.
FORWARDED = frozenset({"session.updated", "device.pair.requested", "device.pair.resolved"})


class ConnectParams(Params, frozen=True, rename=None):
    token: str = ""
    user_id: str = ""
    sender_id: str = ""
    tenant_hint: str = ""
    tenant_id: str = ""
    tenant_scope: str = ""


class GoclawProtocol(Protocol):
    name: ClassVar[str] = "goclaw"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._pairing: PendingPairing | None = None  # while an approval is awaited
        self._asks_of_its_own = False  # the status call under way is about that pairing
        self._request = Handshake(path="")
        self._tail = Tail(self.connection)
        # A chunk that comes late, on another way than the end of its run, would follow it.
        self._ended: deque[str] = deque(maxlen=64)

    # --- codec ---

    def decode(self, text: str | bytes) -> Request:
        return frames.decode(text)

    def encode(self, frame: Any) -> str:
        return wire.encode(frame)

    def ref(self, frame: Request) -> str:
        return frame.id

    def error_frame(self, ref: str, code: str, error: GatewayError) -> dict[str, Any]:
        return frames.failure(ref, code, error)

    # --- conversation ---

    def handshake(self, request: Handshake) -> Credential | None:
        self._request = request
        return None

    def greet(self, frame: Request) -> Effects:
        if frame.method == "connect":
            return self._connect(frame)
        if frame.method == "browser.pairing.status" and self._pairing is not None:
            asked = (frame.params or {}).get("sender_id")
            self._asks_of_its_own = asked == self._pairing.sender_id
            return self._ask(frame)
        raise NotConnected

    def receive(self, frame: Request) -> Effects:
        return self._connect(frame) if frame.method == "connect" else self._ask(frame)

    def _connect(self, frame: Request) -> Effects:
        """An attempt; until one succeeds another is awaited, for a while."""
        params = parse(ConnectParams, frame.params)
        claim = ConnectToken(
            token=params.token or self._request.bearer,
            sender_id=params.sender_id,
            user_id=params.user_id,
            tenant=params.tenant_id or params.tenant_hint or params.tenant_scope,
            address=self._request.address,
            user_agent=self._request.user_agent,
        )
        return [WaitFor(self._patience()), Authenticate(claim, frame.id)]

    def _patience(self) -> float:
        """Seconds for another attempt; a pending socket lives until its request ends."""
        left_s = self._pairing.expires_at - self.now() if self._pairing is not None else 0.0
        return max(left_s, self.limits.greeting_retry_s)

    def _ask(self, frame: Request) -> Effects:
        handler = handler_for(frame.method, self.principal)
        asked = build(handler, frame.params, Caller(self.connection, self._request.address))
        match asked:
            case dict():
                return [Send(frames.response(frame.id, asked))]
            case Follow():
                effects = self._tail.heed(asked, self.principal)
                return [*effects, Send(frames.response(frame.id, {"ok": True}))]
            case _:
                return [Call(asked, frame.id)]

    def opened(self, ref: str) -> Effects:
        """An administrator sees all of the account; everybody else what is theirs."""
        who = self.principal
        self._pairing = None
        audience = (
            addresses.admins(who.account) if who.is_admin else addresses.user(who.account, who.id)
        )
        welcome = Send(frames.response(ref, self._welcome()))
        return [Join(audience), *self._tail.end(), welcome]

    def _welcome(self) -> dict[str, Any]:
        who = self.principal
        return {
            "protocol": frames.PROTOCOL_VERSION,
            "role": who.role,
            "user_id": who.id,
            "tenant_id": who.account_id,
            "is_owner": who.role == "owner",
            "is_master_scope": who.account == "default",
            "edition": "standard",
            "server": SERVER,
            "tenant_name": who.account_name,
            "tenant_slug": who.account,
        }

    def replied(self, ref: str, result: Any) -> Effects:
        if isinstance(result, PendingPairing):
            return self._pending(ref, result)
        answer: list[Effect] = [Send(frames.response(ref, result))]
        if self._asks_of_its_own and result == {"status": "expired"}:
            self._asks_of_its_own = False
            if self._pairing is not None and self._pairing.expires_at > self.now():
                self._pairing = replace(self._pairing, expires_at=self.now())
                answer.append(WaitFor(self._patience()))
        return answer

    def _pending(self, ref: str, pairing: PendingPairing) -> Effects:
        """The socket lives until its request ends."""
        self._pairing = pairing
        answer = {
            "protocol": frames.PROTOCOL_VERSION,
            "status": "pending_pairing",
            "pairing_code": pairing.code,
            "sender_id": pairing.sender_id,
            "server": SERVER,
        }
        left_s = max(0.0, pairing.expires_at - self.now())
        return [WaitFor(left_s), Send(frames.response(ref, answer))]

    # --- events ---

    def deliver(self, event: Event) -> Effects:
        match event.name:
            case "agent":
                return self._run_event(event)
            case name if name in FORWARDED:
                return [SendText(event.rendered(self.name, lambda: _plain(name, event.data)))]
            case "command.updated" | "agent.updated" if self.principal.at_least("operator"):
                text = event.rendered(self.name, lambda: _plain(event.name, event.data))
                return [SendText(text)]
            case events.DRAIN:
                within_ms = round(event.data["within_s"] * 1000)
                payload = {"reason": "server restarting", "withinMs": within_ms}
                return [Send(frames.event("shutdown", payload))]
            case events.RESYNC:
                return [Send(frames.event("resync", event.data))]
            case loglines.LINE:
                return self._tail.tell(event, lambda: _plain("log", event.data))
            case events.NOTICE:
                return [Send(frames.event("notice", event.data))]
            case _:
                return []

    def _run_event(self, event: Event) -> Effects:
        run, kind = event.data["runId"], event.data["type"]
        if run in self._ended:
            return []
        if kind in events.RUN_ENDED:
            self._ended.append(run)
        text = event.rendered(self.name, lambda: _plain("agent", _public(event.data)))
        if event.data.get("_connection") != self.connection:
            return [SendText(text)]
        return [SendText(text), *self._for_the_asker(event.data)]

    def _for_the_asker(self, data: dict[str, Any]) -> list[Effect]:
        """Other clients of this protocol listen for other names (2.7): told to the asker only."""
        kind, inner = data["type"], data["payload"]
        names = {"runId": data["runId"], "sessionKey": data["sessionKey"]}
        told: list[Effect] = [Send(frames.event(kind, {**names, **inner}))]
        if kind == "chunk":
            text = inner["content"]
            body = {"type": "chunk", "content": text, "text": text, "chunk": text, **names}
            told.insert(0, Send(frames.event("chat", body)))
        return told


def _public(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if not key.startswith("_")}


def _plain(name: str, payload: Any) -> str:
    return wire.encode(frames.event(name, payload))
