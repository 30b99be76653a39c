"""003, group routing: messages to a group, one client, everyone, or back to the sender.

Source: PROTOCOLS.md section 4. Handshake: the path's group and client; `api_key`, `jwt`,
`x_account_id` in the query, or `X-API-Key`, `Authorization: Bearer`, `X-Account-Id`. Frames both
ways: WS_Message_V3; what cannot be read is answered with `cmd` ERROR. At most 64 KiB of text.
Refused with 403 before accepting. Closes: 4003 revoked, 1012 restart, 4008 slow reader, 1009 too
large, 1011 our fault.
"""

from __future__ import annotations

from typing import Any, ClassVar

from realtime.core import addresses, events, wire
from realtime.core import group_messages as messages
from realtime.core.addresses import Address
from realtime.core.credentials import Credential, GroupTicket
from realtime.core.effects import Effect, Effects, Join, Publish, Send, SendText, Touch
from realtime.core.errors import (
    BadCredentials,
    GatewayError,
    MalformedFrame,
    RateLimited,
    RoleTooLow,
)
from realtime.core.events import Event
from realtime.core.group_messages import Said
from realtime.core.handshake import Handshake
from realtime.core.limits import TokenBucket
from realtime.core.protocol import Protocol

KEY_MARK = "gwk_"  # how our API keys begin: a bearer is one, or an access token


class AetherProtocol(Protocol):
    __slots__ = ("_bucket", "_client_id", "_group_id")

    name: ClassVar[str] = messages.NAME

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._client_id = self._group_id = ""
        self._bucket: TokenBucket | None = None  # most deployments have no limit

    # --- codec ---

    def decode(self, text: str | bytes) -> Said:
        """Every frame counts against the rate, also one that cannot be read. Raises RateLimited."""
        self._check_rate()
        if isinstance(text, bytes):
            raise MalformedFrame("message not routed: a message is text, not a binary frame")
        return messages.read(wire.decode(text))

    def encode(self, frame: Any) -> str:
        return wire.encode(frame)

    def error_frame(self, ref: str, code: str, error: GatewayError) -> dict[str, Any]:
        """A legal message, to the sender only (4.6)."""
        faults = (error.details or {}).get("errors") or [{"message": str(error)}]
        entries = [{"code": code, **fault} for fault in faults]
        if error.retry_after_ms is not None:
            entries[0]["retry_after_ms"] = error.retry_after_ms
        return self._from_server("ERROR", str(error), {"errors": entries}, target="echo")

    def counts(self, frame: Said) -> bool:
        """003 has a limit of its own, AETHER_MESSAGES_PER_S."""
        return False

    # --- conversation ---

    def handshake(self, request: Handshake) -> Credential:
        """Any parameter may be present and empty (4.1). Raises BadCredentials."""
        self._group_id = request.parameters["group_id"]
        self._client_id = request.parameters["client_id"]
        bearer = request.bearer
        bearer_key = bearer if bearer.startswith(KEY_MARK) else ""
        query, header = request.query.get, request.headers.get
        return GroupTicket(
            api_key=_one("api_key", query("api_key"), header("x-api-key"), bearer_key),
            jwt=_one("jwt", query("jwt"), "" if bearer_key else bearer),
            account=_one("x_account_id", query("x_account_id"), header("x-account-id")),
            address=request.address,
        )

    def opened(self, ref: str) -> Effects:
        """Nothing is said: clients of V3 expect messages only."""
        realm = self._realm
        return [
            Join(addresses.client(realm, self._client_id)),
            Join(addresses.group(realm, self._group_id)),
            Join(addresses.everyone(realm)),
            Join(addresses.everyone(messages.NAME)),
        ]

    def receive(self, frame: Said) -> Effects:
        message = messages.complete(
            frame, from_id=self._client_id, group_id=self._group_id, now=self.now()
        )
        routed: Effect
        if frame.target == "echo":
            routed = Send(message)
        else:
            routed = Publish([self._address(frame)], Event(messages.MESSAGE, {"message": message}))
        return [Touch(), routed] if frame.msg_type == "heartbeat" else [routed]

    def deliver(self, event: Event) -> Effects:
        match event.name:
            case messages.MESSAGE:
                return [SendText(_rendered(event))]
            case messages.PRESENCE if event.data["message"]["from_id"] != self._client_id:
                return [SendText(_rendered(event))]
            case events.NOTICE:
                by = {"by": event.data["by"]}
                return [Send(self._from_server("NOTICE", event.data["text"], by, target="direct"))]
            case _:
                return []

    def last_words(self, ref: str, error: GatewayError) -> list[Effect]:
        return [Send(self.error_frame(ref, error.code, error))]

    def _address(self, frame: Said) -> Address:
        """Always in the sender's account and, for a group, the URL's. Raises RoleTooLow."""
        match frame.target:
            case "group":
                return addresses.group(self._realm, self._group_id)
            case "direct":
                return addresses.client(self._realm, frame.to_id or "")
            case _:
                if not self.principal.at_least("operator"):
                    raise RoleTooLow("permission denied: target broadcast requires operator role")
                everywhere = self.principal.is_superuser
                return addresses.everyone(messages.NAME if everywhere else self._realm)

    def _from_server(self, cmd: str, msg: str, payload: Any, *, target: Any) -> dict[str, Any]:
        said = Said(msg_type="msg", target=target, cmd=cmd, msg=msg, payload=payload)
        return messages.complete(
            said,
            from_id=messages.SERVER,
            to_id=self._client_id,
            group_id=self._group_id,
            now=self.now(),
        )

    def _check_rate(self) -> None:
        per_s = self.limits.messages_per_s
        if not per_s:
            return
        now = self.now()
        if self._bucket is None:
            self._bucket = TokenBucket(per_minute=per_s * 60, burst=max(1, int(per_s)), now=now)
        wait_s = self._bucket.take(now)
        if wait_s:
            raise RateLimited(
                f"message not routed: more than {per_s:g} messages a second",
                retry_after_ms=max(1, round(wait_s * 1000)),
            )

    @property
    def _realm(self) -> str:
        return messages.realm(self.principal.account)

    @property
    def place(self) -> str:
        return messages.place(self._group_id)

    @property
    def client_id(self) -> str:
        return self._client_id


def _rendered(event: Event) -> str:
    return event.rendered(messages.NAME, lambda: wire.encode(event.data["message"]))


def _one(name: str, *places: str | None) -> str:
    """What is shown in any of the places; they must not differ. Raises BadCredentials."""
    found = {value for value in places if value}
    if len(found) > 1:
        raise BadCredentials(f"{name} is given twice, with different values")
    return found.pop() if found else ""
