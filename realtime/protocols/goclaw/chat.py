"""001's `chat.*`. Source: PROTOCOLS.md 2.7."""

from __future__ import annotations

from typing import Any

from realtime.core import operations as ops
from realtime.core.operations import Operation
from realtime.protocols.goclaw.requests import Caller, Handler, SessionKeyed, required


class SendParams(SessionKeyed, frozen=True):
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


class InjectParams(SessionKeyed, frozen=True):
    message: str = ""
    label: str = ""


def _inject(p: InjectParams, caller: Caller) -> Operation:
    return ops.InjectChat(
        session_key=required(p.session, "sessionKey"),
        message=required(p.message, "message"),
        label=p.label,
    )


class AbortParams(SessionKeyed, frozen=True):
    run_id: str = ""


def _abort(p: AbortParams, caller: Caller) -> Operation:
    if not p.run_id:
        required(p.session, "sessionKey")
    return ops.AbortChat(session_key=p.session, run_id=p.run_id)


def _history(p: SessionKeyed, caller: Caller) -> Operation | dict[str, Any]:
    return ops.ReadHistory(session_key=p.session) if p.session else {"messages": []}


def _status(p: SessionKeyed, caller: Caller) -> Operation:
    return ops.ReadChatStatus(session_key=required(p.session, "sessionKey"))


CHAT: dict[str, Handler[Any]] = {
    "chat.send": Handler(SendParams, _send),
    "chat.history": Handler(SessionKeyed, _history),
    "chat.inject": Handler(InjectParams, _inject),
    "chat.abort": Handler(AbortParams, _abort),
    "chat.session.status": Handler(SessionKeyed, _status),
    "chat.session_status": Handler(SessionKeyed, _status),  # the desktop app's spelling
}
