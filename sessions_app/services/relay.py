"""The agent's HTTP fallback: the same queue, asked for instead of pushed. Source: PROTOCOLS.md 1.7.

What an agent reports is taken in as far as it can be: one odd event must not keep it from its
commands for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Q

from accounts.models import EdgeAgent
from realtime.bus.announce import announce
from realtime.core import addresses, wire
from realtime.core.errors import FrameTooLarge, GatewayError
from realtime.core.events import Event
from realtime.core.principal import Principal
from sessions_app.models import ScheduledCommand, Status
from sessions_app.moments import rfc3339
from sessions_app.services import acknowledgements, agents, claims, clock, delivery
from sessions_app.services.command_steps import record, tell

logger = structlog.get_logger("gateway")

NAMELESS = "unknown"  # the id under which messages of agents are passed on that say none
MESSAGE = "edge.message"  # {"agent_id", "message", "at"} to the topic agent.<id>.messages
MAX_MESSAGE_BYTES = 64 * 1024
MAX_EVENTS = 200  # in one sync; the rest is not acknowledged and comes again
MAX_DETAILS_BYTES = 16 * 1024
MAX_STEPS = 50  # of one kind, kept of one command
EVENT_TYPES = ("message_sent", "message_filtered", "rule_triggered", "error")
OTHER = "event"
OVER_HTTP = "http:"  # how `delivery` names what it gives over HTTP


@transaction.atomic
def register(*, principal: Principal) -> dict[str, Any]:
    """The agent is known from now on. `edge_agent_id` is what it has to call itself."""
    agent = agents.locked_or_new(principal.account, principal.id)
    EdgeAgent.objects.filter(pk=agent.pk).update(last_seen_at=clock.now())
    logger.info(
        f"Edge agent {principal.id} registered over HTTP",
        agent=principal.id,
        account=principal.account,
    )
    return {"edge_agent_id": principal.id, "status": "registered"}


def sync(
    *, principal: Principal, status: Any, pending_events: Any, last_command_id: Any = None
) -> dict[str, Any]:
    """Take in what the agent reports, and give it its commands: none while a socket holds it."""
    if isinstance(last_command_id, str):
        _reached(principal, last_command_id)
    reported = pending_events if isinstance(pending_events, list) else []
    taken = [_take_in(principal, event) for event in reported[:MAX_EVENTS]]
    if isinstance(status, dict) and status:
        try:
            wire.check(status)
            agents.report(principal=principal, status=status)
        except GatewayError as error:
            logger.warning("edge.status_refused", agent=principal.id, reason=str(error))
    claims.bury_silent(principal=principal)
    given = delivery.fetch(principal=principal)
    return {
        "commands": [frame["data"] for frame in given["commands"]],
        "ack_events": [event_id for event_id in taken if event_id is not None],
    }


def message(*, principal: Principal, message: dict[str, Any]) -> dict[str, Any]:
    """Pass on what somebody wrote to the agent's person. Nothing is kept, nobody here answers.

    Raises MalformedFrame, FrameTooLarge.
    """
    wire.check(message)
    if len(wire.encode(message).encode()) > MAX_MESSAGE_BYTES:
        raise FrameTooLarge(f"message: it takes up to {MAX_MESSAGE_BYTES} bytes")
    topic = addresses.topic(f"nexus:{principal.account}", f"agent.{principal.id}.messages")
    told = {"agent_id": principal.id, "message": message, "at": rfc3339(clock.now())}
    announce(topic, Event(MESSAGE, told))
    return {"should_respond": False}


def _reached(principal: Principal, command_id: str) -> None:
    """What an agent has acted on last it has received, with all before it in the same answer: their
    acknowledgements may have got lost, and it is not to act on them twice (PROTOCOLS.md 1.5).
    """
    mine = ScheduledCommand.objects.filter(
        account__slug=principal.account, agent__agent_id=principal.id
    )
    last = mine.filter(pk=command_id).first() if "\x00" not in command_id else None
    if last is None:
        return
    place = Q(deliver_at__lt=last.deliver_at) | Q(deliver_at=last.deliver_at, seq__lt=last.seq)
    before = place & Q(written_to=last.written_to, written_to__startswith=OVER_HTTP)
    # What was put back into the queue by hand is to be acted on again.
    known = mine.filter(before | Q(pk=last.pk), status=Status.DELIVERED, retries=0)
    for pk in known.order_by("deliver_at", "seq").values_list("pk", flat=True):
        acknowledgements.acknowledge(
            principal=principal, command_id=pk, status=Status.RECEIVED.value
        )


def _take_in(principal: Principal, event: Any) -> str | int | None:
    """Record one event; the id to acknowledge it by, if it has one."""
    event_id = event.get("event_id") if isinstance(event, dict) else None
    if not isinstance(event_id, str | int) or isinstance(event_id, bool):
        return None
    try:
        wire.check(event)
        recorded = _record(principal, event, str(event_id))
    except GatewayError as error:
        logger.warning("edge.event_refused", agent=principal.id, reason=str(error))
        return event_id
    # Its details are private: they are where its command is.
    logger.info("edge.event", agent=principal.id, kind=_kind(event), recorded=recorded)
    return event_id


@transaction.atomic
def _record(principal: Principal, event: dict[str, Any], event_id: str) -> bool:
    """As a step of the command that it names, if that is this agent's own; once."""
    command = _named(principal, event)
    if command is None:
        return False
    kind = f"agent.{_kind(event)}"
    same = command.events.filter(kind=kind)
    if same.filter(data__event_id=event_id).exists() or same.count() >= MAX_STEPS:
        return False
    details = event.get("details")
    data: dict[str, Any] = {"event_id": event_id, "type": str(event.get("event_type", ""))[:64]}
    if len(wire.encode(details).encode()) <= MAX_DETAILS_BYTES:
        data["details"] = details
    now, number = clock.now(), same.count()
    record([command], kind, at=now, number=lambda command: number, actor=principal.id, data=data)
    tell([command], command.status, at=now)
    return True


def _named(principal: Principal, event: dict[str, Any]) -> ScheduledCommand | None:
    details = event.get("details")
    places: Sequence[Any] = (details, event)
    ids = [place.get("command_id") for place in places if isinstance(place, dict)]
    wanted = next((found for found in ids if isinstance(found, str) and found), None)
    if wanted is None:
        return None
    rows = ScheduledCommand.objects.select_related("account", "agent").filter(attempts__gt=0)
    mine = rows.filter(account__slug=principal.account, agent__agent_id=principal.id)
    return mine.select_for_update(of=("self",)).filter(pk=wanted).first()


def _kind(event: dict[str, Any]) -> str:
    kind = event.get("event_type")
    return kind if kind in EVENT_TYPES else OTHER
