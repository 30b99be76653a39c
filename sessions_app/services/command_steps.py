"""What every step of a command leaves behind: an event, and word to whoever watches.

Source: PROTOCOLS.md 6 (000 and topics): ids and states, never the payload.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

from accounts.models import EdgeAgent
from realtime.bus.announce import announce_all
from realtime.core import addresses
from realtime.core.addresses import Address
from realtime.core.events import DISPATCH, Event
from sessions_app.models import CommandEvent, ScheduledCommand
from sessions_app.moments import rfc3339

UPDATED = "command.updated"
Fact = tuple[Sequence[Address], Event]
Number = Callable[[ScheduledCommand], int]


def record(
    commands: Sequence[ScheduledCommand],
    kind: str,
    *,
    at: dt.datetime,
    number: Number = lambda command: command.retries,
    actor: str = "",
    data: dict[str, Any] | None = None,
) -> None:
    """One event for each command; `number` tells it from the earlier ones of its kind."""
    CommandEvent.objects.bulk_create(
        CommandEvent(
            command=command,
            kind=kind,
            attempt=number(command),
            actor=actor,
            data=data or {},
            at=at,
        )
        for command in commands
    )


def is_recorded(command: ScheduledCommand, kind: str) -> bool:
    """Whether this has happened to the command since it was last put into the queue."""
    return command.events.filter(kind=kind, attempt=command.retries).exists()


def tell(commands: Sequence[ScheduledCommand], status: str, *, at: dt.datetime) -> None:
    """Announce the status that the commands have now."""
    announce_all(news(commands, status, at=at))


def news(commands: Sequence[ScheduledCommand], status: str, *, at: dt.datetime) -> list[Fact]:
    """Who hears of the commands' status, and what; an agent's commands come together."""
    moment = rfc3339(at)
    facts: list[Fact] = []
    for command in sorted(commands, key=lambda command: command.agent_id):
        told = {
            "agent_id": command.agent.agent_id,
            "command_id": command.pk,
            "status": str(status),
            "at": moment,
        }
        facts.append((_audience(command), Event(UPDATED, told)))
    return facts


def _audience(command: ScheduledCommand) -> list[Address]:
    account = command.account.slug
    return [
        addresses.topic(f"nexus:{account}", f"agent.{command.agent.agent_id}.commands"),
        *addresses.deciders(account),
        addresses.user(account, command.created_by),
    ]


def wake(agent: EdgeAgent) -> Fact:
    """Something may be due for this agent."""
    return [addresses.dispatchers()], Event(DISPATCH, {"agent": agent.pk})
