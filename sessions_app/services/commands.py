"""Commands for agents: schedule, cancel, retry, look. Source: PROTOCOLS.md 1.5, 6.

Delivery is elsewhere: `claims` is the dispatcher's side, `delivery` the agent's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F

from accounts.models import EdgeAgent
from accounts.services import journal
from accounts.services.journal import EVERY_ACCOUNT
from accounts.services.scopes import require
from realtime.bus.announce import announce_all
from realtime.core.errors import Conflict, GatewayError, NotFound
from realtime.core.principal import Principal
from sessions_app.models import CommandEvent, CommandQuerySet, ScheduledCommand, Status
from sessions_app.services import agents, clock, command_request
from sessions_app.services.command_request import Moment, Request
from sessions_app.services.command_steps import news, record, tell, wake
from sessions_app.services.delivery import lease_to


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One agent of a bulk has been dealt with: its command, or why there is none."""

    done: int
    total: int
    agent_id: str
    command: ScheduledCommand | None = None
    error: str = ""


def visible(principal: Principal) -> CommandQuerySet:
    """The commands of the caller's account. Raises RoleTooLow."""
    require(principal, "operator", "commands")
    rows = ScheduledCommand.objects.select_related("account", "agent")
    if principal.account == EVERY_ACCOUNT:
        return rows
    return rows.filter(account__slug=principal.account)


def find(*, principal: Principal, command_id: str) -> ScheduledCommand:
    """Raises RoleTooLow, NotFound: another account's commands do not exist."""
    return _one(visible(principal), command_id)


def history(*, principal: Principal, command_id: str) -> list[CommandEvent]:
    """What happened to a command, oldest first. Raises RoleTooLow, NotFound."""
    return list(find(principal=principal, command_id=command_id).events.order_by("at", "pk"))


@transaction.atomic
def schedule(
    *,
    principal: Principal,
    agent_id: str,
    command_type: str,
    payload: dict[str, Any],
    priority: str = "",
    deliver_at: Moment = None,
    expires_at: Moment = None,
    idempotency_key: str = "",
    delivery: str = "at_least_once",
) -> tuple[ScheduledCommand, bool]:
    """Queue a command, also for an agent never seen; whether it is new.

    The same idempotency key with the same request gives the same command. Raises RoleTooLow,
    InvalidParams (names the field), FrameTooLarge, Conflict (same key, other request), NotFound.
    """
    require(principal, "operator", "commands")
    request = command_request.read(
        agent_id=agent_id,
        command_type=command_type,
        payload=payload,
        priority=priority,
        deliver_at=deliver_at,
        expires_at=expires_at,
        idempotency_key=idempotency_key,
        delivery=delivery,
    )
    agent = agents.locked_or_new(principal.account, request.agent_id)
    if request.idempotency_key:
        before = _before(principal, request)
        if before is not None:
            return before, False
    return _create(principal, agent, request), True


@transaction.atomic
def cancel(*, principal: Principal, command_id: str) -> ScheduledCommand:
    """Give a command up, before or after its delivery: what was written cannot be called back.

    Raises RoleTooLow, NotFound, Conflict (it has ended already).
    """
    command = _one(_locked(principal), command_id)
    _move(command, Status.CANCELLED, "cancelled", lease_until=None)
    now = clock.now()
    record([command], Status.CANCELLED, at=now, actor=principal.id)
    tell([command], Status.CANCELLED, at=now)
    journal.decided("command.cancelled", principal=principal, row=command, action="cancelled")
    return command


@transaction.atomic
def retry(*, principal: Principal, command_id: str) -> ScheduledCommand:
    """Put a command that failed, expired or died back into the queue; attempts go on counting.

    Raises RoleTooLow, NotFound, Conflict (it has not come to such an end).
    """
    command = _one(_locked(principal), command_id)
    now = clock.now()
    past = command.expires_at is not None and command.expires_at <= now
    _move(
        command,
        Status.SCHEDULED,
        "retried",
        retries=F("retries") + 1,
        deliver_at=max(command.deliver_at, now),
        expires_at=None if past else command.expires_at,
        lease_until=None,
        retry_at=None,
        acknowledged_at=None,
        executed_at=None,
        error="",
        only=(Status.FAILED, Status.EXPIRED, Status.DEAD),
    )
    record([command], Status.SCHEDULED, at=now, actor=principal.id)
    announce_all([*news([command], Status.SCHEDULED, at=now), wake(command.agent)])
    journal.decided("command.retried", principal=principal, row=command, action="retried")
    return command


def send_to_many(
    *, principal: Principal, agent_ids: Iterable[str], idempotency_key: str = "", **request: Any
) -> Iterator[Progress]:
    """Schedule the same for each agent (see `agents.matching`), one transaction each.

    Yields after each, so that a caller can show how far it is; a refusal of one stops no other.
    A key is one for each agent, so that the same bulk again queues nothing twice.
    """
    names = list(dict.fromkeys(agent_ids))
    for done, name in enumerate(names, 1):
        key = idempotency_key and f"{idempotency_key}:{name}"
        command, error = None, ""
        try:
            command, _ = schedule(
                principal=principal, agent_id=name, idempotency_key=key, **request
            )
        except GatewayError as refusal:
            error = str(refusal)
        yield Progress(done=done, total=len(names), agent_id=name, command=command, error=error)


def _before(principal: Principal, request: Request) -> ScheduledCommand | None:
    """What the same caller has queued under the same key. Raises Conflict if it was another."""
    found = visible(principal).filter(
        created_by=principal.id, idempotency_key=request.idempotency_key
    )
    before = found.first()
    if before is not None and before.fingerprint != request.fingerprint:
        raise Conflict(
            "idempotency_key: it was used for another request",
            details={"field": "idempotency_key", "command_id": before.pk},
        )
    return before


def _create(principal: Principal, agent: EdgeAgent, request: Request) -> ScheduledCommand:
    now = clock.now()
    command_request.check_order(request, now)
    deliver_at = request.deliver_at or now
    # Nothing would stand before it: then its socket is told at once, without a dispatcher.
    at_once = deliver_at <= now and agents.is_idle(agent, now)
    agent.last_seq += 1
    EdgeAgent.objects.filter(pk=agent.pk).update(last_seq=agent.last_seq)
    try:
        # Only a key can be in use already; a savepoint costs two statements.
        with transaction.atomic(savepoint=bool(request.idempotency_key)):
            command = ScheduledCommand.objects.create(
                agent=agent,
                seq=agent.last_seq,
                command_type=request.command_type,
                payload=request.payload,
                size=request.size,
                priority=request.priority,
                delivery=request.delivery,
                created_by=principal.id,
                created_at=now,
                deliver_at=deliver_at,
                expires_at=request.expires_at,
                idempotency_key=request.idempotency_key,
                fingerprint=request.fingerprint,
            )
    except IntegrityError:  # the same key for two agents at the same moment
        raise Conflict("idempotency_key: it was used for another request") from None
    command.account = agent.account
    record([command], Status.SCHEDULED, at=now, actor=principal.id)
    facts = news([command], Status.SCHEDULED, at=now)
    if at_once:
        lease_to([command], owner=agent.connection, now=now)
        facts += [*news([command], Status.LEASED, at=now), agents.call(agent)]
    elif agent.connection:  # an agent that comes back wakes the dispatchers by itself
        facts.append(wake(agent))
    announce_all(facts)
    return command


def _locked(principal: Principal) -> CommandQuerySet:
    return visible(principal).select_for_update(of=("self",))


def _one(rows: CommandQuerySet, command_id: str) -> ScheduledCommand:
    command = rows.filter(pk=command_id).first() if "\x00" not in command_id else None
    if command is None:
        raise NotFound(f"command not found: {command_id[:128]}")
    return command


def _move(
    command: ScheduledCommand,
    to: Status,
    verb: str,
    *,
    only: tuple[Status, ...] | None = None,
    **changes: Any,
) -> None:
    """Move a locked command. Raises Conflict with the state that is in the way."""
    rows = ScheduledCommand.objects.filter(pk=command.pk)
    if only is not None:
        rows = rows.filter(status__in=only)
    if not rows.move(to, **changes):
        raise Conflict(
            f"a command that is {command.status} cannot be {verb}",
            details={"status": command.status},
        )
    command.refresh_from_db(fields=["status", *changes])
