"""001's methods about the server itself: its health, agents, tenants, keys, log.

Source: PROTOCOLS.md 2.8.
"""

from __future__ import annotations

from typing import Any

from realtime.core import loglines
from realtime.core import operations as ops
from realtime.core.errors import InvalidParams
from realtime.core.operations import Operation
from realtime.protocols.goclaw.requests import (
    Caller,
    Handler,
    NoParams,
    Params,
    SessionKeyed,
    required,
)
from realtime.protocols.goclaw.tail import Follow


class KeyParams(Params, frozen=True, rename=None):
    name: str = ""
    scopes: list[str] = []
    expires_in: int | None = None
    owner_id: str = ""
    tenant_id: str = ""


def _create_key(p: KeyParams, caller: Caller) -> Operation:
    return ops.CreateKey(
        name=required(p.name, "name"),
        key_scopes=tuple(p.scopes),
        expires_in=p.expires_in,
        owner_id=p.owner_id,
        tenant_id=p.tenant_id,
    )


class RevokeKeyParams(Params, frozen=True):
    id: str | int = ""


def _revoke_key(p: RevokeKeyParams, caller: Caller) -> Operation:
    return ops.RevokeKey(key_id=required(str(p.id), "id").strip())


class TailParams(Params, frozen=True):
    action: str = ""
    level: str = "info"


def _tail(p: TailParams, caller: Caller) -> Follow:
    if p.action == "stop":
        return Follow("")
    if p.action != "start":
        raise InvalidParams("action takes one of start, stop")
    level = p.level.strip().lower()
    level = "warning" if level == "warn" else level
    if level not in loglines.LEVELS:
        raise InvalidParams(f"level takes one of {', '.join(loglines.LEVELS)}")
    return Follow(level)


SYSTEM: dict[str, Handler[Any]] = {
    "health": Handler(NoParams, lambda p, caller: ops.ReadHealth(connection=caller.connection)),
    "status": Handler(NoParams, lambda p, caller: ops.ReadStatus()),
    "agents.list": Handler(NoParams, lambda p, caller: ops.ListAgents()),
    "agent": Handler(SessionKeyed, lambda p, caller: ops.ReadAgent(agent_id=p.agent)),
    "agent.wait": Handler(SessionKeyed, lambda p, caller: ops.AwaitAgent(agent_id=p.agent)),
    "agent.identity.get": Handler(
        SessionKeyed, lambda p, caller: ops.IdentifyAgent(agent_id=p.agent)
    ),
    "api_keys.list": Handler(NoParams, lambda p, caller: ops.ListKeys()),
    "api_keys.create": Handler(KeyParams, _create_key),
    "api_keys.revoke": Handler(RevokeKeyParams, _revoke_key),
    "logs.tail": Handler(TailParams, _tail),
    # Tolerated: the web client calls them right after `connect`.
    "tenants.mine": Handler(NoParams, lambda p, caller: ops.ListTenants()),
    "teams.tasks.active-by-session": Handler(NoParams, lambda p, caller: {"tasks": []}),
}
