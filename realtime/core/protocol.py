"""Protocol: the interface of the five. Frames in, effects out; nothing awaits, nothing is
performed.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from realtime.core.credentials import Credential
from realtime.core.effects import Close, Effect, Effects, Send
from realtime.core.errors import (
    Drop,
    GatewayError,
    NotConnected,
    Say,
    Shut,
    wire_answer,
)
from realtime.core.events import Event
from realtime.core.handshake import Handshake
from realtime.core.limits import Limits
from realtime.core.principal import ANONYMOUS, Principal


class Protocol(ABC):
    """One peer's conversation. A subclass says what its wire looks like and what should happen."""

    __slots__ = ("connection", "limits", "now", "principal")

    name: ClassVar[str]  # the column of errors.WIRE
    # A browser shows its cookie for any page: then only pages of this server's own origin pass.
    shows_cookie: ClassVar[bool] = False
    # Whether a ping or a pong of the peer's socket says that somebody is there, as a frame does.
    pings_count: ClassVar[bool] = False

    def __init__(
        self,
        *,
        connection: str = "",
        limits: Limits | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`connection`: this peer's id; `now`: seconds since the epoch."""
        self.connection = connection
        self.limits = limits or Limits()
        self.now = now
        self.principal: Principal = ANONYMOUS

    # --- codec ---

    @abstractmethod
    def decode(self, text: str | bytes) -> Any:
        """One frame. Raises MalformedFrame or UnexpectedFrame."""

    @abstractmethod
    def encode(self, frame: Any) -> str: ...

    @abstractmethod
    def error_frame(self, ref: str, code: str, error: GatewayError) -> Any: ...

    def ref(self, frame: Any) -> str:
        """What an answer to this frame must quote."""
        return ""

    def counts(self, frame: Any) -> bool:
        """Whether the rate limit counts this frame."""
        return True

    # --- conversation ---

    @abstractmethod
    def handshake(self, request: Handshake) -> Credential | None:
        """What the upgrade request shows; None: "I say who I am in my first frame"."""

    def greet(self, frame: Any) -> Effects:
        """A frame from someone unknown; only connect-first protocols answer it."""
        raise NotConnected

    @abstractmethod
    def opened(self, ref: str) -> Effects:
        """`self.principal` has been proved; joins and the welcome."""

    @abstractmethod
    def receive(self, frame: Any) -> Effects: ...

    def replied(self, ref: str, result: Any) -> Effects:
        """A Call came back, or an Authenticate that ended in something else than an identity."""
        return []

    def deliver(self, event: Event) -> Effects:
        """Something arrived from the bus: only Send, SendText, Close, Ask, Resume come of it."""
        return []

    def resume(self) -> Effects:
        """It is time for what Resume was asked for: Recover, for one address at a time."""
        return []

    def failed(self, ref: str, error: GatewayError) -> Effects:
        """`error` in this wire's words, from the table errors.WIRE."""
        match wire_answer(self.name, error):
            case Say(code):
                return [Send(self.error_frame(ref, code or error.code, error))]
            case Shut(code):
                return [*self.last_words(ref, error), Close(code, str(error))]
            case Drop() if self.limits.tell_rate_limit:
                return [Send(self.error_frame(ref, error.code, error))]
            case Drop():
                return []
            case _:
                return [Close(1008, str(error))]

    def last_words(self, ref: str, error: GatewayError) -> list[Effect]:
        """A frame before a close with `error`: many clients and proxies lose the close reason."""
        return []

    @property
    def place(self) -> str:
        """Where this peer counts as present."""
        return self.name

    @property
    def client_id(self) -> str:
        """What the peer calls itself in this place; "" when the wire has no such name."""
        return ""
