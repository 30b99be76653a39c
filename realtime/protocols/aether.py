"""003, group routing: messages to a group, one client, everyone, or back to the sender.

Source: PROTOCOLS.md section 4. Handshake: the path's group and client; `api_key`, `jwt`,
`x_account_id` in the query, or `X-API-Key`, `Authorization: Bearer`, `X-Account-Id`. Frames both
ways: WS_Message_V3; what cannot be read is answered with `cmd` ERROR. At most 64 KiB of text.
Refused with 403 before accepting. Closes: 4003 revoked, 1012 restart, 4008 slow reader, 1009 too
large, 1011 our fault.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from realtime.core import addresses, events, numbers, wire
from realtime.core import group_messages as messages
from realtime.core.addresses import Address
from realtime.core.credentials import Credential, GroupTicket
from realtime.core.effects import (
    Effect,
    Effects,
    Join,
    Publish,
    Record,
    Recover,
    Resume,
    Send,
    SendText,
    Touch,
)
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
from realtime.core.history import REASONS, Gap, Position, Recovered
from realtime.core.limits import TokenBucket
from realtime.core.numbers import Numbers
from realtime.core.protocol import Protocol

DECIMAL = re.compile("[0-9]{1,16}")
KEY_MARK = "gwk_"  # how our API keys begin: a bearer is one, or an access token


class AetherProtocol(Protocol):
    __slots__ = ("_bucket", "_client_id", "_followed", "_group_id")

    name: ClassVar[str] = messages.NAME

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._client_id = self._group_id = ""
        self._bucket: TokenBucket | None = None  # most deployments have no limit
        self._followed: Numbers | None = None  # the group, if the client wants to miss nothing

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
        """Any parameter may be present and empty (4.1). Raises BadCredentials, MalformedFrame."""
        self._group_id = request.parameters["group_id"]
        self._client_id = request.parameters["client_id"]
        self._followed = _followed(request)
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
        """Nothing is said, unless it was asked for: clients of V3 expect messages only."""
        realm, followed = self._realm, self._followed
        return [
            Join(addresses.client(realm, self._client_id)),
            Recover(self._group, followed.last) if followed is not None else Join(self._group),
            Join(addresses.everyone(realm)),
            Join(addresses.everyone(messages.NAME)),
        ]

    def receive(self, frame: Said) -> Effects:
        """Raises RoleTooLow."""
        if self.principal.only_reads and frame.target != "echo":
            raise RoleTooLow("permission denied: a key that only reads sends to nobody")
        message = messages.complete(
            frame, from_id=self._client_id, group_id=self._group_id, now=self.now()
        )
        routed: Effect
        if frame.target == "echo":
            routed = Send(message)
        else:
            event = Event(messages.MESSAGE, {"message": message})
            if frame.target == "group":
                routed = Record(self._group, event)
            else:
                routed = Publish([self._address(frame)], event)
        return [Touch(), routed] if frame.msg_type == "heartbeat" else [routed]

    def deliver(self, event: Event) -> Effects:
        followed = self._followed
        if followed is not None and (event.position or event.late or event.name == events.RESYNC):
            return self._follow(followed, event)
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

    def _follow(self, followed: Numbers, event: Event) -> Effects:
        """What has a number is said whatever it is: one's own presence, too."""
        if event.name == events.RESYNC:
            followed.lost = True
        elif followed.passes(event):
            return [SendText(_numbered(event))]
        return [Resume()] if followed.lost else []

    def resume(self) -> Effects:
        followed = self._followed
        if followed is None or not followed.lost:
            return []
        followed.lost = False
        return [Recover(self._group, followed.last)]

    def replied(self, ref: str, result: Recovered | Gap) -> Effects:
        """What was missed in the group, after a message that says so."""
        outcome = self._followed.settle(result) if self._followed is not None else None
        if outcome is None:
            return []
        answer = self._from_server(
            "RECOVERED",
            REASONS[outcome.reason] if isinstance(outcome, Gap) else None,
            numbers.told(outcome),
            target="echo",
            msg_type="cmd",
        )
        missed = outcome.events if isinstance(outcome, Recovered) else ()
        return [Send(answer), *[SendText(_numbered(event)) for event in missed]]

    def last_words(self, ref: str, error: GatewayError) -> list[Effect]:
        return [Send(self.error_frame(ref, error.code, error))]

    def _address(self, frame: Said) -> Address:
        """Of a direct message or a broadcast, in the sender's account. Raises RoleTooLow."""
        if frame.target == "direct":
            return addresses.client(self._realm, frame.to_id or "")
        if not self.principal.at_least("operator"):
            raise RoleTooLow("permission denied: target broadcast requires operator role")
        return addresses.everyone(messages.NAME if self.principal.is_superuser else self._realm)

    def _from_server(
        self, cmd: str, msg: str | None, payload: Any, *, target: Any, msg_type: Any = "msg"
    ) -> dict[str, Any]:
        said = Said(msg_type=msg_type, target=target, cmd=cmd, msg=msg, payload=payload)
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
    def _group(self) -> Address:
        """The URL's, in the sender's account."""
        return addresses.group(self._realm, self._group_id)

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


def _numbered(event: Event) -> str:
    """For who asked for numbers."""
    at = event.position
    fields = at._asdict() if at is not None else {}
    return event.rendered("aether+offset", lambda: wire.encode({**event.data["message"], **fields}))


def _followed(request: Handshake) -> Numbers | None:
    """`since_epoch` and `since_offset`, both empty: from now on. Raises MalformedFrame."""
    epoch, offset = request.query.get("since_epoch"), request.query.get("since_offset")
    if epoch is None and offset is None:
        return None
    followed = Numbers()
    position: Position | None = None
    if epoch or offset:
        whole = int(offset) if offset and DECIMAL.fullmatch(offset) else None
        position = numbers.position(epoch, whole)
        if position is None:
            raise MalformedFrame("since_epoch and since_offset: both of a message, or both empty")
    followed.ask(position)
    return followed


def _one(name: str, *places: str | None) -> str:
    """What is shown in any of the places; they must not differ. Raises BadCredentials."""
    found = {value for value in places if value}
    if len(found) > 1:
        raise BadCredentials(f"{name} is given twice, with different values")
    return found.pop() if found else ""
