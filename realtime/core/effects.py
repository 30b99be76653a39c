"""What a protocol may ask of the shell: a closed list. `Connection.perform` carries it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from realtime.core.addresses import Address
from realtime.core.credentials import Credential
from realtime.core.events import Event
from realtime.core.history import Position
from realtime.core.operations import Operation


@dataclass(frozen=True, slots=True)
class Send:
    """Encode a frame for this peer."""

    frame: object


@dataclass(frozen=True, slots=True)
class SendText:
    """The fast lane: text that is already encoded, often once for a whole audience."""

    text: str


@dataclass(frozen=True, slots=True)
class Close:
    code: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Touch:
    """The peer says that it is alive."""


@dataclass(frozen=True, slots=True)
class Join:
    address: Address


@dataclass(frozen=True, slots=True)
class Recover:
    """Join `address`, and get what was recorded there after `since`; None: where it is now.

    `Protocol.replied(ref, Recovered(…) | Gap(…))` comes first, then what is said live.
    """

    address: Address
    since: Position | None = None
    ref: str = ""


@dataclass(frozen=True, slots=True)
class Resume:
    """Soon, and not while a frame of the peer is dealt with: `Protocol.resume()` says what next.

    Also for what a delivery has shown to be missing.
    """


@dataclass(frozen=True, slots=True)
class Leave:
    address: Address


@dataclass(frozen=True, slots=True)
class Publish:
    """Tell everyone at the addresses now; at most once, nothing stored."""

    addresses: Sequence[Address]
    event: Event


@dataclass(frozen=True, slots=True)
class Record:
    """As Publish, numbered and kept for a while, so that it can be recovered."""

    address: Address
    event: Event


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Verify a credential; the answer quotes `ref`."""

    credential: Credential
    ref: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """Ask the domain; the answer comes back as `Protocol.replied(ref, …)` or `failed(ref, …)`."""

    operation: Operation
    ref: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """As Call, but soon and one after the other: also what a delivery may ask for.

    While one waits an equal one adds nothing, so that any number of hints ask once.
    """

    operation: Operation
    ref: str = ""


@dataclass(frozen=True, slots=True)
class AwaitRoom:
    """Go on when the peer has read half of what may wait: for who has much to say.

    One that reads nothing for ten seconds is closed as a slow reader.
    """


@dataclass(frozen=True, slots=True)
class WaitFor:
    """How long an unknown peer may stay, in seconds from now, before it is told GreetingTimeout."""

    seconds: float


Effect = (
    Send
    | SendText
    | Close
    | Touch
    | Join
    | Recover
    | Resume
    | Leave
    | Publish
    | Record
    | Authenticate
    | Call
    | Ask
    | AwaitRoom
    | WaitFor
)
Effects = Sequence[Effect]
