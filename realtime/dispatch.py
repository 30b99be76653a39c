"""SERVICES: which service answers which operation."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

from accounts.services import credentials, pairing
from realtime import metrics
from realtime.core import operations as ops
from realtime.core.credentials import Credential, PendingPairing
from realtime.core.operations import Operation
from realtime.core.principal import Principal
from realtime.neighbours import Arrival
from realtime.runs import Runs
from realtime.threads import in_thread
from sessions_app.services import chat, overview, presence, sessions

Service = Callable[..., Any]

SERVICES: dict[type, Service] = {
    ops.SendChat: chat.send,
    ops.ReadHistory: chat.history,
    ops.InjectChat: chat.inject,
    ops.AbortChat: chat.abort,
    ops.ReadChatStatus: chat.status,
    ops.ReadPairing: pairing.status,
    ops.RequestPairing: pairing.request,
    ops.ApprovePairing: pairing.approve,
    ops.DenyPairing: pairing.deny,
    ops.ListPairings: pairing.list_,
    ops.RevokePairing: pairing.revoke,
    ops.ListSessions: sessions.list_,
    ops.PreviewSession: sessions.preview,
    ops.PatchSession: sessions.patch,
    ops.DeleteSession: sessions.delete,
    ops.ResetSession: sessions.reset,
    ops.ReadHealth: overview.health,
    ops.ReadStatus: overview.status,
    ops.ListAgents: overview.agents,
    ops.ListTenants: overview.tenants,
}


class Dispatch:
    """The domain as connections see it; `node` is this process's id."""

    def __init__(self, *, node: str, runs: Runs) -> None:
        self._node = node
        self._runs = runs
        self.present: dict[str, Arrival] = {}

    async def authenticate(self, credential: Credential) -> Principal | PendingPairing:
        return await in_thread(credentials.connect, credential=credential)

    async def run(self, operation: Operation, principal: Principal) -> Any:
        """The service's answer, or a Future when the answer comes with the end of a run."""
        fields = {f.name: getattr(operation, f.name) for f in dataclasses.fields(operation)}
        with metrics.SERVICE_SECONDS.labels(type(operation).__name__).time():
            if isinstance(operation, ops.SendChat):
                # Shielded: a run that has been committed is started, though its asker is cut off.
                return await asyncio.shield(self._send_chat(principal, fields))
            return await in_thread(SERVICES[type(operation)], principal=principal, **fields)

    async def _send_chat(self, principal: Principal, fields: dict[str, Any]) -> Any:
        self._runs.refuse_while_draining()
        sent = await in_thread(chat.send, principal=principal, node=self._node, **fields)
        return self._runs.answer(sent)

    async def arrive(self, arrival: Arrival) -> None:
        """Write presence. Raises Revoked when the identity was revoked since it was verified."""
        await in_thread(_arrive, arrival, self._node)
        self.present[arrival.connection] = arrival

    async def depart(self, connection: str) -> None:
        self.present.pop(connection, None)
        await in_thread(presence.depart, connection=connection)

    async def arrive_again(self) -> None:
        """After this process's lease had lapsed, others have swept its members away."""
        for arrival in list(self.present.values()):
            await in_thread(_write, arrival, self._node)


def _arrive(arrival: Arrival, node: str) -> None:
    credentials.check(principal=arrival.principal)
    _write(arrival, node)


def _write(arrival: Arrival, node: str) -> None:
    presence.arrive(
        principal=arrival.principal,
        connection=arrival.connection,
        node=node,
        protocol=arrival.protocol,
        place=arrival.place,
        client_id=arrival.client_id,
        address=arrival.address,
    )
