"""004, topics: subscribe with filters, publish, hear.

Source: PROTOCOLS.md section 5. Handshake: `?token=` with a JWT; refused with 401 (none) or 403 (not
valid) before the upgrade. The first frame is `connected`. Frames in: subscribe, unsubscribe,
publish, ping; out: connected, subscribed, unsubscribed, message, broadcast, pong, error. At most
1 MiB. Closes: 1009 too large, 1012 restart, 4003 revoked or expired, 4008 slow reader.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
from msgspec import UNSET

from realtime.core import events, numbers, topics, wire
from realtime.core.credentials import Credential, Jwt
from realtime.core.effects import (
    Effect,
    Effects,
    Join,
    Leave,
    Record,
    Recover,
    Resume,
    Send,
    SendText,
    Touch,
)
from realtime.core.errors import (
    GatewayError,
    InvalidParams,
    MalformedFrame,
    MissingCredentials,
    NotJson,
    RoleTooLow,
    UnexpectedFrame,
)
from realtime.core.events import Event
from realtime.core.filters import Filter
from realtime.core.handshake import Handshake
from realtime.core.history import OFF, Gap, Position, Recovered
from realtime.core.numbers import Numbers
from realtime.core.protocol import Protocol

WELCOME = "Welcome to Nexus WebSocket"
INVALID = "Invalid JSON format"

MAX_CHANNELS = 1024  # of one connection
MAX_FILTERS = 256  # of one connection
MAX_SHOWN = 256  # characters of an unknown action

# What is told of agents, and the last part of the topic it is told on (PROTOCOLS.md 6).
AGENT_EVENTS = {
    "command.updated": "commands",
    "agent.updated": "commands",
    "edge.message": "messages",
}


class Subscribe(msgspec.Struct, frozen=True):
    channel: str
    filters: Any = UNSET
    since: Any = UNSET  # beyond the specification: docs/decisions/0010-recovery.md


class Unsubscribe(msgspec.Struct, frozen=True):
    channel: str


class Say(msgspec.Struct, frozen=True):
    """`publish`."""

    channel: str
    payload: Any = UNSET


class Ping(msgspec.Struct, frozen=True):
    pass


Frame = Subscribe | Unsubscribe | Say | Ping

READERS: dict[str, Callable[[dict[str, Any]], Frame]] = {
    "subscribe": lambda said: Subscribe(
        _channel(said), said.get("filters", UNSET), said.get("since", UNSET)
    ),
    "unsubscribe": lambda said: Unsubscribe(_channel(said)),
    "publish": lambda said: Say(_channel(said), said.get("payload", UNSET)),
    "ping": lambda said: Ping(),
}


class Followed(Numbers):
    """A channel of which the peer wants to miss nothing."""

    __slots__ = ("answer", "epoch")

    def __init__(self) -> None:
        super().__init__()
        self.answer: dict[str, Any] = {}  # to what it has asked; then empty
        self.epoch = ""  # the last one that it was sent


class NexusProtocol(Protocol):
    __slots__ = ("_channels", "_followed")

    name: ClassVar[str] = "nexus"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # The filters of each channel, a message that passes one of them is heard; none: all are.
        self._channels: dict[str, dict[str, Filter]] = {}
        self._followed: dict[str, Followed] = {}

    # --- codec ---

    def decode(self, text: str | bytes) -> Frame:
        try:
            said = wire.decode(text)
        except NotJson:
            raise MalformedFrame(INVALID) from None
        if said is None:
            raise MalformedFrame(INVALID)
        action = said.get("action", UNSET) if isinstance(said, dict) else UNSET
        read = READERS.get(action) if isinstance(action, str) else None
        if read is None:
            raise UnexpectedFrame(f"Unknown action: {_as_text(action)[:MAX_SHOWN]}")
        return read(said)

    def encode(self, frame: Any) -> str:
        return wire.encode(frame)

    def error_frame(self, ref: str, code: str, error: GatewayError) -> dict[str, Any]:
        return {"type": "error", "message": str(error)}

    def last_words(self, ref: str, error: GatewayError) -> list[Effect]:
        return [Send(self.error_frame(ref, error.code, error))]

    def counts(self, frame: Frame) -> bool:
        """The rate limit is 001's; a subscription that is refused on each return is lost."""
        return False

    # --- conversation ---

    def handshake(self, request: Handshake) -> Credential:
        """Raises MissingCredentials."""
        token = request.query.get("token", "")
        if not token:
            raise MissingCredentials("token is required")
        return Jwt(token=token, address=request.address)

    def opened(self, ref: str) -> Effects:
        return [Send({"type": "connected", "message": WELCOME, "userId": self._user_id})]

    def receive(self, frame: Frame) -> Effects:
        match frame:
            case Subscribe(channel, filters, since):
                return self._subscribe(channel, filters, since)
            case Unsubscribe(channel):
                told = Send({"type": "unsubscribed", "channel": channel})
                known = self._channels.pop(channel, None) is not None
                self._followed.pop(channel, None)
                return [Leave(self._address(channel)), told] if known else [told]
            case Say(channel, payload):
                return [Record(self._address(channel), self._message(channel, payload))]
            case Ping():
                return [Touch(), Send({"type": "pong", "timestamp": int(self.now() * 1000)})]

    def deliver(self, event: Event) -> Effects:
        """Each message once, whatever overlaps; nothing of what was unsubscribed meanwhile."""
        if event.name == events.RESYNC:
            return self._lost()
        channel = _topic(event)
        filters = self._channels.get(channel)
        if filters is None:
            return []
        followed = self._followed.get(channel)
        if followed is not None and not followed.passes(event):
            return [Resume()] if followed.lost else []
        if not _pass(filters, event):
            return []
        return [SendText(_text(event, followed))]

    def _lost(self) -> Effects:
        for followed in self._followed.values():
            followed.lost = True
        return [Resume()] if self._followed else []

    def resume(self) -> Effects:
        """One channel at a time: what it has lost goes out before anything newer."""
        lost = [channel for channel, followed in self._followed.items() if followed.lost]
        if not lost:
            return []
        followed = self._followed[lost[0]]
        followed.lost = False
        recover = Recover(self._address(lost[0]), followed.last, lost[0])
        return [recover, Resume()] if lost[1:] else [recover]

    def replied(self, ref: str, result: Recovered | Gap) -> Effects:
        """What was missed on the channel `ref`, after the answer that says so."""
        followed = self._followed[ref]
        answer, followed.answer = followed.answer or _subscribed(ref), {}
        outcome = followed.settle(result)
        if outcome is None:
            return []
        answer.update(numbers.told(outcome))
        followed.epoch = answer.get("epoch", followed.epoch)
        if isinstance(outcome, Gap):
            return [Send(answer)]
        filters = self._channels[ref]
        missed = [event for event in outcome.events if _pass(filters, event)]
        return [Send(answer), *[SendText(_text(event, followed)) for event in missed]]

    def _subscribe(self, channel: str, filters: Any, since: Any) -> Effects:
        """Raises RoleTooLow, InvalidParams."""
        of_agents = channel.startswith(topics.OF_AGENTS)
        if of_agents and not self.principal.at_least("operator"):
            raise RoleTooLow("permission denied: topics of agents require operator role")
        after = _position(since)
        wanted = Filter(filters) if filters else None
        known = self._channels.get(channel)
        if known is None and len(self._channels) >= MAX_CHANNELS:
            raise InvalidParams(f"a connection subscribes to at most {MAX_CHANNELS} channels")
        widens = known and (wanted is None or wanted.key not in known)
        if widens and after is not None and channel in self._followed:
            # What was told for the filters so far would come again, or what they left out never.
            raise InvalidParams("since goes with the last of a channel's filters, once")
        if wanted is None:
            self._channels[channel] = {}
        elif known is None or known and wanted.key not in known:
            self._check_filters()
            self._channels.setdefault(channel, {})[wanted.key] = wanted
        answer = _subscribed(channel, filters)
        if since is not UNSET and not of_agents:
            followed = self._followed.setdefault(channel, Followed())
            followed.ask(after)
            followed.answer = answer
            return [Recover(self._address(channel), after, channel)]
        if since is not UNSET:
            answer.update(numbers.told(Gap(OFF)))
        return [*([Join(self._address(channel))] if known is None else []), Send(answer)]

    def _check_filters(self) -> None:
        if sum(len(filters) for filters in self._channels.values()) >= MAX_FILTERS:
            raise InvalidParams(f"a connection has at most {MAX_FILTERS} different filters")

    def _message(self, channel: str, payload: Any) -> Event:
        """Raises RoleTooLow, InvalidParams."""
        if self.principal.only_reads:
            raise RoleTooLow("permission denied: observers do not publish")
        topics.check_published(channel)
        said = {"channel": channel, "from": self._user_id}
        if payload is not UNSET:
            said["data"] = payload
        return Event(topics.MESSAGE, {**said, "timestamp": topics.written(self.now())})

    @property
    def _user_id(self) -> str:
        who = self.principal
        return who.id.removeprefix(topics.FOREIGN) if who.via == "nexus" else who.id

    def _address(self, channel: str) -> Any:
        return topics.address(self.principal.account, channel)


def _channel(said: dict[str, Any]) -> str:
    return topics.check_channel(said.get("channel"))


def _position(since: Any) -> Position | None:
    """What a peer has; None: nothing yet. Raises InvalidParams."""
    if since is UNSET or since is None:
        return None
    given = since if isinstance(since, dict) else {}
    position = numbers.position(given.get("epoch"), given.get("offset"))
    if position is None:
        raise InvalidParams("since takes null, or epoch (a text) and offset (0 or more)")
    return position


def _subscribed(channel: str, filters: Any = UNSET) -> dict[str, Any]:
    answer = {"type": "subscribed", "channel": channel}
    return answer if filters is UNSET else {**answer, "filters": filters}


# --- what is heard ---


def _topic(event: Event) -> str:
    """The channel that an event was said on; "" for what is not said on any."""
    if event.name in (topics.MESSAGE, topics.BROADCAST):
        channel: str = event.data["channel"]
        return channel
    last = AGENT_EVENTS.get(event.name)
    return f"{topics.OF_AGENTS}{event.data['agent_id']}.{last}" if last else ""


def _pass(filters: dict[str, Filter], event: Event) -> bool:
    """Whether one of them lets the event through; none let everything."""
    if not filters:
        return True
    data = _data(event)
    return any(one.passes(event, data) for one in filters.values())


def _text(event: Event, followed: Followed | None) -> str:
    """The number is for who asked, the epoch where it is another than before."""
    at = event.position
    if followed is None or at is None:
        return event.rendered("nexus", lambda: wire.encode(_frame(event)))
    if at.epoch == followed.epoch:
        return event.rendered(
            "nexus+offset", lambda: wire.encode({**_frame(event), "offset": at.offset})
        )
    followed.epoch = at.epoch
    return event.rendered("nexus+epoch", lambda: wire.encode({**_frame(event), **at._asdict()}))


def _data(event: Event) -> Any:
    if event.name in AGENT_EVENTS:
        return {"event": event.name, **event.data}
    return event.data.get("data")


def _frame(event: Event) -> dict[str, Any]:
    """What the server says of an agent is a `broadcast`: no client has sent it (5.3)."""
    match event.name:
        case topics.MESSAGE:
            return {"type": "message", **event.data}
        case topics.BROADCAST:
            return {"type": "broadcast", **event.data}
        case _:
            said = {"channel": _topic(event), "data": _data(event)}
            return {"type": "broadcast", **said, "timestamp": event.data["at"]}


def _as_text(value: Any) -> str:
    """As the reference puts a value into its sentence: JavaScript's `${value}`."""
    match value:
        case msgspec.UnsetType():
            return "undefined"
        case str():
            return value
        case dict():
            return "[object Object]"
        case list():
            return ",".join("" if one is None else _as_text(one) for one in value)
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return wire.encode(value)
