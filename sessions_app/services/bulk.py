"""The same command for every agent that fits a pattern, however many those are.

Asking writes one row; the dispatchers queue the commands, a few in each transaction together with
how far they are, so that killed at any moment each agent gets it once.
"""

from __future__ import annotations

import uuid
from typing import Any

import structlog
from django.db import transaction
from django.db.models import QuerySet

from accounts.models import Account
from accounts.services import journal
from accounts.services.journal import EVERY_ACCOUNT
from accounts.services.scopes import require
from realtime.bus.announce import announce
from realtime.core import addresses
from realtime.core.errors import Conflict, NotFound
from realtime.core.events import CHANGED, Event
from realtime.core.principal import Principal
from sessions_app.models import BulkSend
from sessions_app.services import agents, clock, command_request, commands
from sessions_app.services.command_request import refused

logger = structlog.get_logger("gateway")

AT_A_TIME = 25  # agents in one transaction


@transaction.atomic
def start(
    *, principal: Principal, pattern: str, online: bool | None = None, **request: Any
) -> BulkSend:
    """Have a command queued for the agents whose ids fit `pattern` (`*`, `?`) now.

    `request` as `commands.schedule` takes it, without a key. Raises RoleTooLow, InvalidParams,
    FrameTooLarge.
    """
    require(principal, "operator", "commands")
    read = command_request.read(agent_id="each", **request)
    now = clock.now()
    command_request.check_order(read, now)
    ids = sorted(agents.matching(principal=principal, pattern=pattern, online=online))
    if not ids:
        raise refused("pattern", "no agent that is let in fits it")
    bulk = BulkSend.objects.create(
        account=Account.objects.get(slug=principal.account),
        created_by=principal.id,
        created_at=now,
        pattern=pattern[:255],
        request={
            "command_type": read.command_type,
            "payload": read.payload,
            "priority": read.priority,
            "delivery": read.delivery,
            "deliver_at": read.deliver_at and read.deliver_at.isoformat(),
            "expires_at": read.expires_at and read.expires_at.isoformat(),
        },
        agent_ids=ids,
        total=len(ids),
    )
    _tell(bulk)
    logger.info("bulk.started", bulk=str(bulk.pk), agents=len(ids), by=principal.id)
    return bulk


def visible(principal: Principal) -> QuerySet[BulkSend]:
    """The bulks of the caller's account. Raises RoleTooLow."""
    require(principal, "operator", "commands")
    rows = BulkSend.objects.select_related("account")
    if principal.account == EVERY_ACCOUNT:
        return rows
    return rows.filter(account__slug=principal.account)


@transaction.atomic
def stop(*, principal: Principal, bulk_id: uuid.UUID) -> BulkSend:
    """Queue nothing more of it; what is queued stays. Raises RoleTooLow, NotFound, Conflict."""
    rows = visible(principal).select_for_update(of=("self",))
    bulk = rows.filter(pk=bulk_id).first()
    if bulk is None:
        raise NotFound("bulk not found")
    if bulk.finished_at is not None:
        raise Conflict("this bulk has ended already")
    bulk.finished_at = clock.now()
    bulk.save(update_fields=["finished_at"])
    _tell(bulk)
    journal.decided("bulk.stopped", principal=principal, row=bulk, action="stopped")
    return bulk


def work(at_a_time: int = AT_A_TIME) -> bool:
    """Queue the next few commands of the oldest bulk that nobody else works at; is there more?"""
    if not BulkSend.objects.filter(finished_at=None).exists():  # a look that locks nothing
        return False
    with transaction.atomic():
        rows = BulkSend.objects.select_related("account").filter(finished_at=None)
        free = rows.select_for_update(skip_locked=True, of=("self",)).order_by("created_at")
        bulk = free.first()
        if bulk is None:
            return False
        _advance(bulk, at_a_time)
    return True


def _advance(bulk: BulkSend, at_a_time: int) -> None:
    # That they may was decided when they asked.
    asker = Principal(id=bulk.created_by, account=bulk.account.slug, role="operator", via="bulk")
    chunk = bulk.agent_ids[bulk.done : bulk.done + at_a_time]
    for step in commands.send_to_many(principal=asker, agent_ids=chunk, **bulk.request):
        if step.error:
            bulk.refused.append({"agent_id": step.agent_id, "error": step.error})
    bulk.done += len(chunk)
    if bulk.done >= bulk.total:
        bulk.finished_at = clock.now()
        logger.info("bulk.finished", bulk=str(bulk.pk), refused=len(bulk.refused))
    bulk.save(update_fields=["done", "refused", "finished_at"])
    _tell(bulk)


def _tell(bulk: BulkSend) -> None:
    pages = [addresses.pages(bulk.account.slug), addresses.every_page()]
    announce(pages, Event(CHANGED, {"what": "bulks"}))
