"""Taking access away: ineffective in the database, and every open socket of it closed.

A row of the outbox carries the news, so every process hears, whoever revoked.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import Q, QuerySet
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
    """Delete a person, with keys and tokens; what else acts under the name ends too."""
    _require_over(principal, user)
    user.end_sessions()
    slugs = {user.home().slug, *user.memberships.values_list("account__slug", flat=True)}
    _end_devices(principal, user, slugs)
    for foreign in _keys(slugs).filter(owner_id=user.username).exclude(user=user):
        key(principal=principal, key=foreign)
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
    """Make `user` a member of `account` with `role`; what has the old role ends."""
    _require_over(principal, user)
    if rank(role) > rank(principal.role):
        raise RoleTooLow(f"permission denied: role {role} is beyond your own authority")
    user.disconnect()  # also where a first membership moves them away from
    membership, _ = Membership.objects.update_or_create(
        user=user, account=account, defaults={"role": role}
    )
    user.end_sessions()
    journal.decided("access.changed", principal=principal, row=membership, action=f"role {role}")
    return membership


@transaction.atomic
def remove_member(*, principal: Principal, membership: Membership) -> None:
    """Take a membership away, with all that acts in the account under the person's name.

    Who is left without any is no staff either.
    """
    user, slugs = membership.user, {membership.account.slug}
    _require_over(principal, user)
    user.end_sessions()
    _end_devices(principal, user, slugs)
    for theirs in _keys(slugs).filter(Q(user=user) | Q(owner_id=user.username)):
        key(principal=principal, key=theirs)
    journal.decided("access.revoked", principal=principal, row=membership, action="removed")
    membership.delete()
    if User.objects.nowhere().filter(pk=user.pk).update(is_staff=False):
        user.is_staff = False


def _keys(slugs: set[str]) -> QuerySet[ApiKey]:
    return ApiKey.objects.filter(account__slug__in=slugs, revoked_at=None)


def _end_devices(principal: Principal, user: User, slugs: set[str]) -> None:
    """End the devices bound to the person's name, and refuse those that ask to be."""
    theirs = Pairing.objects.select_related("account").filter(
        account__slug__in=slugs, user_id=user.username
    )
    for pairing in theirs.filter(status=Pairing.Status.APPROVED):
        _end_device(principal, pairing)
    for pairing in theirs.filter(status=Pairing.Status.PENDING):
        _move(principal, pairing, Pairing.Status.DENIED)


def _end_device(principal: Principal, pairing: Pairing) -> bool:
    moved = _move(principal, pairing, Pairing.Status.REVOKED)
    if moved:
        announce(addresses.handle(pairing.handle), Event(DISCONNECT))
    return moved


def _move(principal: Principal, pairing: Pairing, to: Pairing.Status) -> bool:
    moved = Pairing.objects.filter(pk=pairing.pk).move(
        to, decided_by=journal.actor(principal), decided_at=timezone.now()
    )
    if moved:
        resolved = Event("device.pair.resolved", {"action": to.value})
        announce(addresses.deciders(pairing.account.slug), resolved)
        journal.decided("pairing.decided", principal=principal, row=pairing, action=to.value)
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
