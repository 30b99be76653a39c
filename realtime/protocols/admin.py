"""The live admin pages: a hint that rows have changed; the page then reads itself again.

Source: PROTOCOLS.md 0.1 (`/admin/ws`). Handshake: the staff session's cookie, from this server's
own origin. Frames out: `{"type":"hello"}`, `{"type":"changed","what"}` (pairings, connections,
agents, commands or bulks), `{"type":"resync"}`, `{"type":"notice","text","by"}` from another
administrator, `{"type":"error","code","message"}`; what the page sends is ignored. No row ever
travels here, so there is nothing to leak. Closes: 1009, 1012 restart, 4003 logged out, 4008.
"""

from __future__ import annotations

from typing import Any, ClassVar

from realtime.core import addresses, events, wire
from realtime.core.credentials import Credential, StaffSession
from realtime.core.effects import Effects, Join, Send
from realtime.core.errors import GatewayError, MissingCredentials
from realtime.core.events import Event
from realtime.core.handshake import Handshake
from realtime.core.protocol import Protocol

COOKIE = "sessionid"
PAIRING_EVENTS = frozenset({"device.pair.requested", "device.pair.resolved"})


class AdminProtocol(Protocol):
    name: ClassVar[str] = "admin"
    shows_cookie: ClassVar[bool] = True

    def decode(self, text: str | bytes) -> Any:
        return wire.decode(text)

    def encode(self, frame: Any) -> str:
        return wire.encode(frame)

    def error_frame(self, ref: str, code: str, error: GatewayError) -> dict[str, Any]:
        return {"type": "error", "code": code, "message": str(error)}

    def handshake(self, request: Handshake) -> Credential:
        """Raises MissingCredentials."""
        session_key = request.cookie(COOKIE)
        if not session_key:
            raise MissingCredentials("log in to the admin first")
        return StaffSession(session_key=session_key, address=request.address)

    def opened(self, ref: str) -> Effects:
        who = self.principal
        mine = addresses.every_page() if who.is_superuser else addresses.pages(who.account)
        return [Join(mine), Send({"type": "hello"})]

    def receive(self, frame: Any) -> Effects:
        return []

    def deliver(self, event: Event) -> Effects:
        match event.name:
            case name if name in PAIRING_EVENTS:
                return [Send(_changed("pairings"))]
            case "command.updated":
                return [Send(_changed("commands"))]
            case events.CHANGED:
                return [Send(_changed(event.data["what"]))]
            case events.RESYNC:
                return [Send({"type": "resync"})]
            case events.NOTICE:
                return [Send({"type": "notice", **event.data})]
            case _:
                return []


def _changed(what: str) -> dict[str, str]:
    return {"type": "changed", "what": what}
