"""How 001's methods are read: params in the clients' spellings, and what a method asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from realtime.core.errors import InvalidParams
from realtime.core.operations import Operation
from realtime.protocols.goclaw.tail import Follow


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the connection and its network address."""

    connection: str
    address: str


class Params(msgspec.Struct, frozen=True, rename="camel"):
    """Unknown keys are ignored: unchanged clients send more than we read."""


P = TypeVar("P", bound=Params)

# An answer needs no operation; following the log is the connection's own affair.
Asked = Operation | Follow | dict[str, Any]


@dataclass(frozen=True, slots=True)
class Handler(Generic[P]):
    """`build` makes the operation; a method that needs none answers with what `build` returns."""

    params: type[P]
    build: Callable[[P, Caller], Asked]


class NoParams(Params, frozen=True):
    pass


class SessionKeyed(Params, frozen=True):
    """goclaw-cli spells `session_key` and `agent_key`."""

    session_key: str = ""
    agent_id: str = ""
    session_key_cli: str = msgspec.field(default="", name="session_key")
    agent_key_cli: str = msgspec.field(default="", name="agent_key")

    @property
    def session(self) -> str:
        return self.session_key or self.session_key_cli

    @property
    def agent(self) -> str:
        return self.agent_id or self.agent_key_cli


def build(handler: Handler[Any], params: dict[str, Any] | None, caller: Caller) -> Asked:
    """What the params ask for, or an answer that needs nothing else. Raises InvalidParams."""
    return handler.build(parse(handler.params, params), caller)


def parse(kind: type[P], params: dict[str, Any] | None) -> P:
    given = {name: value for name, value in (params or {}).items() if value is not None}
    try:
        return msgspec.convert(given, kind)  # null is as good as absent, as in the clients' servers
    except msgspec.ValidationError as error:
        raise InvalidParams(f"invalid params: {error}") from None


def required(value: str, name: str) -> str:
    if not value.strip():
        raise InvalidParams(f"{name} is required")
    return value
