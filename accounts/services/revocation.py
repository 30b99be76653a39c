"""Taking access away: ineffective in the database, and every open socket of it closed.

A row of the outbox carries the news, so every process hears, whoever revoked.
"""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from accounts.models import Account, ApiKey, Membership, Pairing, User
from accounts.services import identity, journal, scopes
from realtime.bus.announce import announce
from realtime.core import addresses
from realtime.core.errors import NotFound, RoleTooLow
from realtime.core.events import DISCONNECT, Event
from realtime.core.principal import Principal, rank


@transaction.atomic
def user(*, principal: Principal, user: User) -> None:
    """Deactivate a person: no door opens for the name, nothing stays open. Raises RoleTooLow."""
    _require_over(principal, user)
    User.objects.filter(pk=user.pk).update(is_active=False)
    user.is_active = False
    user.end_sessions()
    journal.decided("access.revoked", principal=principal, row=user, action="deactivated")


@transaction.atomic
def delete_user(*, principal: Principal, user: User) -> None:
    """Delete a person, with keys and tokens; devices bound to the name end too."""
    _require_over(principal, user)
    user.end_sessions()
    slugs = {user.home().slug, *user.memberships.values_list("account__slug", flat=True)}
    bound = Pairing.objects.filter(
        account__slug__in=slugs, user_id=user.username, status=Pairing.Status.APPROVED
    )
    for pairing in bound:
        _end_device(principal, pairing)
    journal.decided("access.revoked", principal=principal, row=user, action="deleted")
    user.delete()


@transaction.atomic
def key(*, principal: Principal, key: ApiKey) -> None:
    """End an API key; the caller has checked whose it is."""
    changed = ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())
    if changed:
        announce(addresses.handle(key.handle), Event(DISCONNECT))
        journal.decided("access.revoked", principal=principal, row=key, action="revoked")


@transaction.atomic
def device(*, principal: Principal, pairing: Pairing) -> None:
    """End a paired device. Raises NotFound if it is none (any more)."""
    if not _end_device(principal, pairing):
        raise NotFound("paired device not found")


@transaction.atomic
def set_role(*, principal: Principal, user: User, account: Account, role: str) -> Membership:
    """Make `user` a member of `account` with `role`; sockets with the old role are closed."""
    _require_over(principal, user)
    if rank(role) > rank(principal.role):
        raise RoleTooLow(f"permission denied: role {role} is beyond your own authority")
    user.disconnect()  # also where a first membership moves them away from
    membership, _ = Membership.objects.update_or_create(
        user=user, account=account, defaults={"role": role}
    )
    user.disconnect()
    journal.decided("access.changed", principal=principal, row=membership, action=f"role {role}")
    return membership


@transaction.atomic
def remove_member(*, principal: Principal, membership: Membership) -> None:
    """Take a membership away."""
    _require_over(principal, membership.user)
    membership.user.disconnect()
    journal.decided("access.revoked", principal=principal, row=membership, action="removed")
    membership.delete()


def _end_device(principal: Principal, pairing: Pairing) -> bool:
    now = timezone.now()
    moved = Pairing.objects.filter(pk=pairing.pk).move(
        Pairing.Status.REVOKED, decided_by=journal.actor(principal), decided_at=now
    )
    if moved:
        announce(addresses.handle(pairing.handle), Event(DISCONNECT))
        resolved = Event("device.pair.resolved", {"action": "revoked"})
        announce(addresses.admins(pairing.account.slug), resolved)
        journal.decided("pairing.decided", principal=principal, row=pairing, action="revoked")
    return bool(moved)


def _require_over(principal: Principal, user: User) -> None:
    """Only an administrator of the person's own account, and never over a higher role."""
    if principal.is_superuser and not principal.scopes:
        return
    scopes.require_admin(principal, "this")
    account = Account.objects.filter(slug=principal.account).first()
    role = identity.role_in(user, account) if account else None
    elsewhere = user.memberships.exclude(account=account).exists()
    if role is None or elsewhere:
        raise NotFound("user not found")
    if rank(role) > rank(principal.role):
        raise RoleTooLow("permission denied: the user's role is higher than yours")
