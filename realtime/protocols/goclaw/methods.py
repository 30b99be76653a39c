"""001's methods: the table of their handlers, and who may call them.

HANDLERS and POLICY are two tables on purpose: a method without a handler is unknown, and a handler
without a policy row is denied to everyone, owners too. Source: PROTOCOLS.md 2.3, 2.6 to 2.9.
"""

from __future__ import annotations

from typing import Any

from realtime.core.errors import RoleTooLow, UnknownMethod
from realtime.core.principal import Principal
from realtime.protocols.goclaw.chat import CHAT
from realtime.protocols.goclaw.pairing import PAIRING
from realtime.protocols.goclaw.requests import Handler
from realtime.protocols.goclaw.sessions import SESSIONS
from realtime.protocols.goclaw.system import SYSTEM

PUBLIC = "public"  # after `connect`, whatever the role

HANDLERS: dict[str, Handler[Any]] = CHAT | PAIRING | SESSIONS | SYSTEM

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
    "sessions.compact": "operator",
    "agents.list": "viewer",
    "agent": "viewer",
    "agent.wait": "viewer",
    "agent.identity.get": "viewer",
    "api_keys.list": "admin",
    "api_keys.create": "admin",
    "api_keys.revoke": "admin",
    "logs.tail": "admin",
    "tenants.mine": "viewer",
    "teams.tasks.active-by-session": "viewer",
}

# Which scopes of an API key let it act. Reading goes by the role alone; but three scopes give the
# role operator, and none of them is leave for what another is there for.
WRITE = frozenset({"operator.write", "operator.admin"})
SCOPES: dict[str, frozenset[str]] = {
    method: WRITE for method, role in POLICY.items() if role == "operator"
} | {"device.pair.request": WRITE | {"operator.pairing"}}


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
    if principal.scopes and method in SCOPES and not principal.scopes & SCOPES[method]:
        raise RoleTooLow(f"permission denied: {method} requires scope operator.write")
    return handler
