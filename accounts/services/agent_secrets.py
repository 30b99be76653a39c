"""An edge agent's own secret, and its being let in at all. Source: PROTOCOLS.md 1.2 (3).

A new secret replaces the one before (or EDGE_SECRET) at once, or after an overlap in which both
open, so that an agent can be given the new one without being cut off.
"""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import dataclass, field

import structlog
from django.db import transaction
from django.utils import timezone

from accounts.models import DEFAULT_ACCOUNT, Account, EdgeAgent
from accounts.services import journal, scopes
from accounts.services.agents import MARK, SHARED, digest_of, door, is_agent_id
from realtime.bus.announce import announce
from realtime.core import addresses
from realtime.core.errors import InvalidParams, NotFound
from realtime.core.events import DISCONNECT, EXPIRES, Event
from realtime.core.principal import Principal

logger = structlog.get_logger("gateway")

LONGEST_OVERLAP = dt.timedelta(days=30)
NO_OVERLAP = dt.timedelta(0)


@dataclass(frozen=True, slots=True)
class NewSecret:
    """`text` is the secret itself: it exists only here and with whoever is shown it."""

    row: EdgeAgent
    text: str = field(repr=False)


@transaction.atomic
def rotate(
    *, principal: Principal, agent_id: str, account: str = "", overlap: dt.timedelta = NO_OVERLAP
) -> NewSecret:
    """A new secret of an agent, known or not, in `account` (default: the caller's).

    Sockets that showed what ends are closed: now, or when the overlap is over. Raises RoleTooLow,
    InvalidParams, NotFound.
    """
    scopes.require_admin(principal, "an agent's secret")
    if not NO_OVERLAP <= overlap <= LONGEST_OVERLAP:
        raise InvalidParams(f"overlap: it takes 0 to {LONGEST_OVERLAP.days} days")
    row = _locked(principal, agent_id, account, make=True)
    before = row.secret_digest or (SHARED if row.account.slug == DEFAULT_ACCOUNT else "")
    ended = {row.previous_digest, before} if not overlap else {row.previous_digest}
    for digest in ended - {""}:
        _end(row, digest)
    until = timezone.now() + overlap if overlap else None
    if until and before:
        _tell(row, before, Event(EXPIRES, {"at": until.timestamp()}))
    text = f"{MARK}{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"
    row.secret_digest = digest_of(text)
    row.previous_digest = before if overlap else ""
    row.previous_until = until
    row.save(update_fields=["secret_digest", "previous_digest", "previous_until"])
    journal.decided("agent.secret", principal=principal, row=row, action="rotated")
    return NewSecret(row=row, text=text)


@transaction.atomic
def let_in(*, principal: Principal, agent_id: str, active: bool, account: str = "") -> EdgeAgent:
    """Shut an agent out, whatever it shows, and close its sockets; or let it in again.

    Raises RoleTooLow, NotFound.
    """
    scopes.require_admin(principal, "this")
    row = _locked(principal, agent_id, account)
    if row.is_active != active:
        row.is_active = active
        row.save(update_fields=["is_active"])
        if not active:
            announce(addresses.handle(row.handle), Event(DISCONNECT))
        action = "activated" if active else "deactivated"
        journal.decided("agent.access", principal=principal, row=row, action=action)
    return row


def end_overlaps() -> int:
    """Forget the secrets whose overlap is over, and close the sockets that showed them; how many.

    Doors and sockets know the time already; this is for who was just coming in when it was said.
    """
    over = EdgeAgent.objects.filter(previous_until__lte=timezone.now()).exclude(previous_digest="")
    if not over.exists():
        return 0
    with transaction.atomic():
        rows = over.select_related("account").select_for_update(of=("self",), skip_locked=True)
        ended = list(rows)
        for row in ended:
            _end(row, row.previous_digest)
        over.filter(pk__in=[row.pk for row in ended]).update(
            previous_digest="", previous_until=None
        )
    return len(ended)


def _end(row: EdgeAgent, digest: str) -> None:
    _tell(row, digest, Event(DISCONNECT))


def _tell(row: EdgeAgent, digest: str, event: Event) -> None:
    """Tell the sockets that showed this secret."""
    announce(addresses.handle(door(row.account.slug, row.agent_id, digest)), event)


def _locked(principal: Principal, agent_id: str, account: str, *, make: bool = False) -> EdgeAgent:
    """Another account's agents do not exist, except for who acts in every account."""
    slug = account or principal.account
    everywhere = principal.is_superuser and not principal.scopes
    owner = Account.objects.filter(slug=slug).first()
    if owner is None or (slug != principal.account and not everywhere):
        raise NotFound(f"account not found: {slug}")
    if make:
        if not is_agent_id(agent_id):
            raise InvalidParams("agent_id: it takes 1 to 255 characters, no control characters")
        EdgeAgent.objects.bulk_create(
            [EdgeAgent(account=owner, agent_id=agent_id)], ignore_conflicts=True
        )
    rows = EdgeAgent.objects.select_related("account").select_for_update(of=("self",))
    row = rows.filter(account=owner, agent_id=agent_id).first()
    if row is None:
        raise NotFound(f"agent not found: {agent_id}")
    return row
