"""SERVICES: which service answers which operation."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError

from accounts.services import agents as edge_agents
from accounts.services import (
    api_keys,
    credentials,
    nexus_tokens,
    pairing,
    passes,
    staff,
    tickets,
)
from realtime import metrics
from realtime.core import group_messages
from realtime.core import operations as ops
from realtime.core.credentials import (
    AgentSecret,
    ConnectToken,
    Credential,
    GroupTicket,
    Jwt,
    PendingPairing,
    SessionTicket,
    StaffSession,
)
from realtime.core.errors import (
    BadCredentials,
    ClientIdInUse,
    NotFound,
    NotOwner,
    TooManyFailures,
    Unavailable,
)
from realtime.core.limits import Buckets, Strikes
from realtime.core.operations import Operation
from realtime.core.principal import Principal
from realtime.neighbours import Arrival
from realtime.runs import Runs
from realtime.showing import Showing
from realtime.threads import housekeeping, in_thread
from sessions_app.services import (
    acknowledgements,
    agents,
    chat,
    compaction,
    control,
    group_presence,
    overview,
    presence,
    questions,
    sessions,
    taking,
    talking,
    viewing,
    workers,
)

logger = structlog.get_logger("gateway")

# Wrong credentials from one address: a person mistypes, a program guesses.
FAILURES_PER_MINUTE = 10
FAILURES_AT_ONCE = 20

# A session that is not there, for one credential: then 4003 instead of 4001. PROTOCOLS.md 6.
NOT_FOUND_AT_MOST, NOT_FOUND_WITHIN_S = 4, 60.0

# What is said once, or must not be missed, is not dropped for a database that is just away.
PATIENT = (
    ops.AcknowledgeCommand,
    ops.ReadEvents,
    ops.SayInSession,
    ops.AnswerQuestion,
    ops.WorkInSession,
)
PATIENCE_S = 8.0  # the agent waits for its pong for 10
RETRY_S = 0.25

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
    ops.CompactSession: compaction.compact,
    ops.ReadHealth: overview.health,
    ops.ReadStatus: overview.status,
    ops.ListAgents: overview.agents,
    ops.ReadAgent: overview.agent,
    ops.AwaitAgent: overview.await_agent,
    ops.IdentifyAgent: overview.identify_agent,
    ops.ListTenants: overview.tenants,
    ops.HoldAgent: agents.hold,
    ops.TakeCommands: taking.take,
    ops.AcknowledgeCommand: acknowledgements.acknowledge,
    ops.ReportStatus: agents.report,
    ops.ListKeys: api_keys.list_,
    ops.CreateKey: api_keys.create,
    ops.RevokeKey: api_keys.revoke,
    ops.WatchSession: viewing.watch,
    ops.ReadEvents: viewing.read,
    ops.SayInSession: talking.say,
    ops.AskControl: control.ask,
    ops.CancelControl: control.cancel,
    ops.AnswerQuestion: questions.answer,
    ops.HoldSession: workers.hold,
    ops.WorkInSession: workers.say,
}

# Which service proves which credential.
VERIFIERS: dict[type, Service] = {
    ConnectToken: credentials.connect,
    StaffSession: staff.recognise,
    AgentSecret: edge_agents.recognise,
    GroupTicket: tickets.recognise,
    Jwt: nexus_tokens.recognise,
    SessionTicket: passes.at_session,
}


class Dispatch:
    """The domain as connections see it; `node` is this process's id."""

    def __init__(self, *, node: str, runs: Runs, showing: Showing) -> None:
        self._node = node
        self._runs = runs
        self._showing = showing
        self.present: dict[str, Arrival] = {}
        self._arriving: set[str] = set()  # present, but their rows are not written yet
        self._failures = Buckets(per_minute=FAILURES_PER_MINUTE, burst=FAILURES_AT_ONCE)
        self._not_found = Strikes(most=NOT_FOUND_AT_MOST, within_s=NOT_FOUND_WITHIN_S)

    async def authenticate(self, credential: Credential) -> Principal | PendingPairing:
        """Verify a credential. Guessing is slowed down for every address, loopback too."""
        if isinstance(credential, AgentSecret):  # counted there, together with the HTTP fallback
            return await _verify(credential)
        now = time.monotonic()
        wait_s = self._failures.wait(credential.address, now)
        if wait_s and credential.guess:
            logger.warning("security.too_many_failures", address=credential.address)
            raise TooManyFailures(retry_after_ms=round(wait_s * 1000))
        try:
            return await _verify(credential)
        except BadCredentials:
            self._failures.take(credential.address, now)
            raise

    async def run(self, operation: Operation, principal: Principal) -> Any:
        """The service's answer, or a Future when the answer comes with the end of a run."""
        fields = {f.name: getattr(operation, f.name) for f in dataclasses.fields(operation)}
        with metrics.SERVICE_SECONDS.labels(type(operation).__name__).time():
            if isinstance(operation, ops.SendChat):
                # Shielded: a run that has been committed is started, though its asker is cut off.
                return await asyncio.shield(self._send_chat(principal, fields))
            if isinstance(operation, ops.SayInSession):
                return await asyncio.shield(self._say(operation, principal, fields))
            if isinstance(operation, ops.WatchSession):
                return await self._enter(operation, principal, fields)
            if isinstance(operation, ops.HoldSession):
                fields["node"] = self._node
            return await self._serve(operation, principal, fields)

    async def _serve(
        self, operation: Operation, principal: Principal, fields: dict[str, Any]
    ) -> Any:
        """Raises Unavailable while the database is away."""
        deadline = time.monotonic() + (PATIENCE_S if isinstance(operation, PATIENT) else 0)
        while True:
            began_s = time.monotonic()  # what has waited for a frozen database is tried once more
            try:
                return await in_thread(SERVICES[type(operation)], principal=principal, **fields)
            except (OperationalError, InterfaceError) as error:
                if began_s >= deadline:
                    logger.warning(
                        "service.database_away",
                        operation=type(operation).__name__,
                        error=type(error).__name__,
                    )
                    raise Unavailable("the database does not answer") from error
            await asyncio.sleep(RETRY_S)

    async def _send_chat(self, principal: Principal, fields: dict[str, Any]) -> Any:
        self._runs.refuse_while_draining()
        fields |= {"principal": principal, "node": self._node}
        sent = await in_thread(chat.send, **fields)
        if sent.outcome == "busy":
            return self._runs.queue(sent, functools.partial(in_thread, _send_later, **fields))
        return self._runs.answer(sent)

    async def _say(
        self, operation: Operation, principal: Principal, fields: dict[str, Any]
    ) -> dict[str, Any]:
        """Stored, and no more is waited for: what becomes of it is in the session's log."""
        self._runs.refuse_while_draining()
        sent = await self._serve(operation, principal, fields | {"node": self._node})
        if sent.outcome == "started":
            self._runs.answer(sent)
        return {"again": sent.again}

    async def _enter(
        self, operation: Operation, principal: Principal, fields: dict[str, Any]
    ) -> Any:
        """Raises TooManyFailures for who comes again and again to a session that is not there."""
        key = "\x1f".join([principal.account, *principal.handles, fields["session_id"]])
        try:
            found = await self._serve(operation, principal, fields)
        except (NotFound, NotOwner):
            if self._not_found.strike(key, time.monotonic()):
                raise
            raise TooManyFailures("session not found, asked for too often") from None
        self._not_found.forgive(key)
        return found

    async def arrive(self, arrival: Arrival) -> None:
        """Write presence. Raises Revoked when the identity was revoked since it was verified."""
        before = self.present.get(arrival.connection)
        self.present[arrival.connection] = arrival
        self._arriving.add(arrival.connection)
        try:
            await in_thread(_arrive, arrival, self._node)
        except BaseException:
            left = self.present.pop(arrival.connection, None) is None
            if before is not None and not left:  # the connection goes on as who it was
                self.present[arrival.connection] = before
            raise
        finally:
            self._arriving.discard(arrival.connection)
        self._showing.touch(one.principal.account for one in (before, arrival) if one)

    async def depart(self, connection: str) -> None:
        gone = self.present.pop(connection, None)
        await in_thread(_depart, connection, gone)
        self._showing.touch([gone.principal.account] if gone else [])

    async def reconcile(self, *, lapsed: bool = False) -> list[str]:
        """Make the rows of presence what is so: some may have been swept by others while this
        process was silent, some not deleted while the database was away.

        Returns the connections that cannot stay: another principal has their client id, which was
        free to take while the lease had `lapsed`.
        """
        lost = await housekeeping(group_presence.taken, node=self._node) if lapsed else []
        for connection in lost:
            gone = self.present.pop(connection, None)
            await housekeeping(_depart, connection, gone)
        settled = [one for name, one in self.present.items() if name not in self._arriving]
        rows = await housekeeping(presence.held, node=self._node)
        for connection in [row for row in rows if row not in self.present]:
            await housekeeping(presence.depart, connection=connection)
        for arrival in [one for one in settled if one.connection not in rows]:
            if self.present.get(arrival.connection) is not arrival:
                continue
            try:
                await housekeeping(_enter, arrival, self._node)
            except ClientIdInUse:
                self.present.pop(arrival.connection, None)
                lost.append(arrival.connection)
                continue
            self._showing.touch([arrival.principal.account])
            if arrival.connection not in self.present:  # it left meanwhile
                await housekeeping(presence.depart, connection=arrival.connection)
        return lost


async def _verify(credential: Credential) -> Principal | PendingPairing:
    """Raises Unavailable while the database is away: an agent is then refused before it opens."""
    try:
        proved: Principal | PendingPairing = await in_thread(
            VERIFIERS[type(credential)], credential=credential
        )
        return proved
    except (OperationalError, InterfaceError) as error:
        raise Unavailable("the database does not answer") from error


def _depart(connection: str, arrival: Arrival | None) -> None:
    if arrival is not None and arrival.protocol == group_messages.NAME:
        with group_presence.in_turn(arrival.principal.account):
            presence.depart(connection=connection)
            group_presence.departed(**_in_group(arrival))
        return
    presence.depart(connection=connection)
    if arrival is not None and arrival.protocol == agents.PROTOCOL:
        agents.released(principal=arrival.principal, connection=connection)
    if arrival is not None and _is_worker(arrival):
        workers.released(connection=connection)


def _is_worker(arrival: Arrival) -> bool:
    return (arrival.protocol, arrival.client_id) == (workers.PROTOCOL, workers.PART)


def _send_later(*, principal: Principal, **fields: Any) -> chat.Sent:
    """Minutes may have passed since the asker was let in."""
    credentials.check(principal=principal)
    return chat.send(principal=principal, **fields)


def _arrive(arrival: Arrival, node: str) -> None:
    credentials.check(principal=arrival.principal)
    _enter(arrival, node)


def _enter(arrival: Arrival, node: str) -> None:
    if arrival.protocol == group_messages.NAME:
        with group_presence.in_turn(arrival.principal.account):
            _arrive_in_group(arrival, node)
    else:
        _write(arrival, node)


def _arrive_in_group(arrival: Arrival, node: str) -> None:
    """Raises ClientIdInUse."""
    principal, client_id = arrival.principal, arrival.client_id
    group_presence.require_free(principal=principal, client_id=client_id)
    _write(arrival, node)
    try:
        group_presence.require_free(principal=principal, client_id=client_id)
    except ClientIdInUse:
        presence.depart(connection=arrival.connection)
        raise
    group_presence.arrived(**_in_group(arrival))


def _in_group(arrival: Arrival) -> dict[str, str]:
    return {
        "account": arrival.principal.account,
        "connection": arrival.connection,
        "place": arrival.place,
        "client_id": arrival.client_id,
    }


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
