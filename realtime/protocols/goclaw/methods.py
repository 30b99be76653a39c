"""001's methods: what each takes, which operation it becomes, and who may call it.

HANDLERS and POLICY are two tables on purpose: a method without a handler is unknown, and a handler
without a policy row is denied to everyone, owners too. Source: PROTOCOLS.md 2.3, 2.6 to 2.9.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from realtime.core import operations as ops
from realtime.core.errors import InvalidParams, RoleTooLow, UnknownMethod
from realtime.core.operations import Operation
from realtime.core.principal import Principal

PUBLIC = "public"  # after `connect`, whatever the role


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the connection and its network address."""

    connection: str
    address: str


class Params(msgspec.Struct, frozen=True, rename="camel"):
    """Unknown keys are ignored: unchanged clients send more than we read."""


P = TypeVar("P", bound=Params)


@dataclass(frozen=True, slots=True)
class Handler(Generic[P]):
    """`build` makes the operation; a method that needs none answers with what `build` returns."""

    params: type[P]
    build: Callable[[P, Caller], Operation | dict[str, Any]]


class NoParams(Params, frozen=True):
    pass


class _SessionKeyed(Params, frozen=True):
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


class SendParams(_SessionKeyed, frozen=True):
    message: str = ""
    stream: bool = False
    message_id: str = ""
    media: list[str | dict[str, str]] | None = None


def _send(p: SendParams, caller: Caller) -> Operation:
    media = tuple(m if isinstance(m, dict) else {"path": m} for m in p.media or [])
    return ops.SendChat(
        message=p.message,
        session_key=p.session,
        agent_id=p.agent,
        message_id=p.message_id,
        stream=p.stream,
        media=media,
        connection=caller.connection,
    )


class InjectParams(_SessionKeyed, frozen=True):
    message: str = ""
    label: str = ""


def _inject(p: InjectParams, caller: Caller) -> Operation:
    return ops.InjectChat(
        session_key=_required(p.session, "sessionKey"),
        message=_required(p.message, "message"),
        label=p.label,
    )


class AbortParams(_SessionKeyed, frozen=True):
    run_id: str = ""


def _abort(p: AbortParams, caller: Caller) -> Operation:
    if not p.run_id:
        _required(p.session, "sessionKey")
    return ops.AbortChat(session_key=p.session, run_id=p.run_id)


def _history(p: _SessionKeyed, caller: Caller) -> Operation | dict[str, Any]:
    return ops.ReadHistory(session_key=p.session) if p.session else {"messages": []}


def _chat_status(p: _SessionKeyed, caller: Caller) -> Operation:
    return ops.ReadChatStatus(session_key=_required(p.session, "sessionKey"))


class StatusParams(Params, frozen=True, rename=None):
    sender_id: str = ""


def _pairing_status(p: StatusParams, caller: Caller) -> Operation:
    return ops.ReadPairing(sender_id=_required(p.sender_id, "sender_id"), address=caller.address)


class PairRequestParams(Params, frozen=True):
    sender_id: str = ""
    channel: str = ""
    chat_id: str = ""
    account_id: str = "default"


def _pair_request(p: PairRequestParams, caller: Caller) -> Operation:
    if not p.sender_id or not p.channel:
        raise InvalidParams("senderId and channel are required")
    return ops.RequestPairing(
        sender_id=p.sender_id,
        channel=p.channel,
        chat_id=p.chat_id,
        account_id=p.account_id,
        address=caller.address,
    )


class CodeParams(Params, frozen=True):
    code: str = ""
    approved_by: str = ""


def _approve(p: CodeParams, caller: Caller) -> Operation:
    return ops.ApprovePairing(code=_required(p.code, "code"), approved_by=p.approved_by)


def _deny(p: CodeParams, caller: Caller) -> Operation:
    return ops.DenyPairing(code=_required(p.code, "code"))


class RevokeParams(Params, frozen=True):
    """goclaw-cli sends `{id}`."""

    sender_id: str = ""
    id: str = ""
    channel: str = ""


def _revoke(p: RevokeParams, caller: Caller) -> Operation:
    if p.sender_id and not p.channel:
        raise InvalidParams("senderId and channel are required")
    sender_id = _required(p.sender_id or p.id, "senderId")
    return ops.RevokePairing(sender_id=sender_id, channel=p.channel or "browser")


class ListParams(_SessionKeyed, frozen=True):
    channel: str = ""
    limit: int = 20
    offset: int = 0


def _list_sessions(p: ListParams, caller: Caller) -> Operation:
    return ops.ListSessions(
        agent_id=p.agent, channel=p.channel, limit=p.limit or 20, offset=max(0, p.offset)
    )


class KeyParams(_SessionKeyed, frozen=True):
    key: str = ""

    @property
    def required(self) -> str:
        return _required(self.key or self.session, "key")


class PatchParams(KeyParams, frozen=True):
    label: str | None = None
    model: str | None = None
    metadata: dict[str, str] | None = None


def _patch(p: PatchParams, caller: Caller) -> Operation:
    return ops.PatchSession(key=p.required, label=p.label, model=p.model, metadata=p.metadata)


HANDLERS: dict[str, Handler[Any]] = {
    "health": Handler(NoParams, lambda p, caller: ops.ReadHealth(connection=caller.connection)),
    "status": Handler(NoParams, lambda p, caller: ops.ReadStatus()),
    "browser.pairing.status": Handler(StatusParams, _pairing_status),
    "chat.send": Handler(SendParams, _send),
    "chat.history": Handler(_SessionKeyed, _history),
    "chat.inject": Handler(InjectParams, _inject),
    "chat.abort": Handler(AbortParams, _abort),
    "chat.session.status": Handler(_SessionKeyed, _chat_status),
    "chat.session_status": Handler(_SessionKeyed, _chat_status),  # the desktop app's spelling
    "device.pair.request": Handler(PairRequestParams, _pair_request),
    "device.pair.approve": Handler(CodeParams, _approve),
    "device.pair.deny": Handler(CodeParams, _deny),
    "device.pair.list": Handler(NoParams, lambda p, caller: ops.ListPairings()),
    "device.pair.revoke": Handler(RevokeParams, _revoke),
    "sessions.list": Handler(ListParams, _list_sessions),
    "sessions.preview": Handler(KeyParams, lambda p, caller: ops.PreviewSession(key=p.required)),
    "sessions.patch": Handler(PatchParams, _patch),
    "sessions.delete": Handler(KeyParams, lambda p, caller: ops.DeleteSession(key=p.required)),
    "sessions.reset": Handler(KeyParams, lambda p, caller: ops.ResetSession(key=p.required)),
    "agents.list": Handler(NoParams, lambda p, caller: ops.ListAgents()),
    # Tolerated: the web client calls them right after `connect`.
    "tenants.mine": Handler(NoParams, lambda p, caller: ops.ListTenants()),
    "teams.tasks.active-by-session": Handler(NoParams, lambda p, caller: {"tasks": []}),
}

POLICY: dict[str, str] = {
    "health": PUBLIC,
    "status": PUBLIC,
    "browser.pairing.status": PUBLIC,
    "chat.send": "operator",
    "chat.history": "viewer",
    "chat.inject": "operator",
    "chat.abort": "operator",
    "chat.session.status": "viewer",
    "chat.session_status": "viewer",
    "device.pair.request": "operator",
    "device.pair.approve": "admin",
    "device.pair.deny": "admin",
    "device.pair.list": "admin",
    "device.pair.revoke": "admin",
    "sessions.list": "viewer",
    "sessions.preview": "viewer",
    "sessions.patch": "operator",
    "sessions.delete": "operator",
    "sessions.reset": "operator",
    "agents.list": "viewer",
    "tenants.mine": "viewer",
    "teams.tasks.active-by-session": "viewer",
}


def handler_for(method: str, principal: Principal) -> Handler[Any]:
    """The method's handler, if `principal` may call it. Raises UnknownMethod, RoleTooLow."""
    handler = HANDLERS.get(method)
    if handler is None:
        raise UnknownMethod(f"unknown method: {method[:128]}")
    role = POLICY.get(method)
    if role is None:
        raise RoleTooLow(f"permission denied: {method} is not permitted for this session")
    if role != PUBLIC and not principal.at_least(role):
        raise RoleTooLow(f"permission denied: {method} requires {role} role")
    return handler


def build(
    handler: Handler[Any], params: dict[str, Any] | None, caller: Caller
) -> Operation | dict[str, Any]:
    """The operation that the params ask for, or an answer that needs none. Raises InvalidParams."""
    return handler.build(parse(handler.params, params), caller)


def parse(kind: type[P], params: dict[str, Any] | None) -> P:
    given = {name: value for name, value in (params or {}).items() if value is not None}
    try:
        return msgspec.convert(given, kind)  # null is as good as absent, as in the clients' servers
    except msgspec.ValidationError as error:
        raise InvalidParams(f"invalid params: {error}") from None


def _required(value: str, name: str) -> str:
    if not value.strip():
        raise InvalidParams(f"{name} is required")
    return value
