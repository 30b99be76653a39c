"""001's `sessions.*`. Source: PROTOCOLS.md 2.8."""

from __future__ import annotations

from typing import Any

from realtime.core import operations as ops
from realtime.core.operations import Operation
from realtime.protocols.goclaw.requests import Caller, Handler, SessionKeyed, required


class ListParams(SessionKeyed, frozen=True):
    channel: str = ""
    limit: int = 20
    offset: int = 0


def _list(p: ListParams, caller: Caller) -> Operation:
    return ops.ListSessions(
        agent_id=p.agent, channel=p.channel, limit=p.limit or 20, offset=max(0, p.offset)
    )


class KeyParams(SessionKeyed, frozen=True):
    key: str = ""

    @property
    def required(self) -> str:
        return required(self.key or self.session, "key")


class PatchParams(KeyParams, frozen=True):
    label: str | None = None
    model: str | None = None
    metadata: dict[str, str] | None = None


def _patch(p: PatchParams, caller: Caller) -> Operation:
    return ops.PatchSession(key=p.required, label=p.label, model=p.model, metadata=p.metadata)


class CompactParams(KeyParams, frozen=True):
    keep_last: int = 4


def _compact(p: CompactParams, caller: Caller) -> Operation:
    return ops.CompactSession(key=p.required, keep_last=p.keep_last)


SESSIONS: dict[str, Handler[Any]] = {
    "sessions.list": Handler(ListParams, _list),
    "sessions.preview": Handler(KeyParams, lambda p, caller: ops.PreviewSession(key=p.required)),
    "sessions.patch": Handler(PatchParams, _patch),
    "sessions.delete": Handler(KeyParams, lambda p, caller: ops.DeleteSession(key=p.required)),
    "sessions.reset": Handler(KeyParams, lambda p, caller: ops.ResetSession(key=p.required)),
    "sessions.compact": Handler(CompactParams, _compact),
}
