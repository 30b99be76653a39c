"""Paired browsers as a credential. Source: PROTOCOLS.md 2.4 (3a) and its identity hazard."""

from __future__ import annotations

from collections.abc import Callable

from django.db import transaction
from django.utils import timezone

from accounts.models import Account, Pairing, User, user_handle
from accounts.services import identity
from accounts.services.pairing_requests import BROWSER
from accounts.services.pairing_words import check_readable, is_sender_id
from realtime.core.principal import Principal

# What says that somebody of an account (its slug) has a user id already: apps above add to it.
in_use: list[Callable[[str, str], bool]] = []


def recognise(sender_id: str, *, claimed_id: str = "") -> Principal | None:
    """The principal of a paired device; None for anything else.

    The user id is the one bound at the pairing. Where none was, the first free one claimed is bound
    now and for good; nobody saw the claim, so an id that somebody has already is not given.
    Raises InvalidParams.
    """
    if not is_sender_id(sender_id):
        return None
    paired = Pairing.objects.select_related("account").paired(timezone.now())
    row = paired.filter(sender_id=sender_id, channel=BROWSER, proof=True).first()
    if row is None:
        return None
    if not row.user_id and claimed_id:
        check_readable("user_id", claimed_id)
        _bind(row, claimed_id)
    return principal_of(row)


@transaction.atomic
def _bind(row: Pairing, user_id: str) -> None:
    # One at a time in the account: two devices must not both find the id free.
    Account.objects.select_for_update(no_key=True).get(pk=row.account.pk)
    if not _is_taken(row.account, user_id):
        Pairing.objects.filter(pk=row.pk, user_id="").update(user_id=user_id)
    row.refresh_from_db(fields=["user_id"])


def _is_taken(account: Account, user_id: str) -> bool:
    bound = Pairing.objects.filter(account=account, user_id=user_id)
    return (
        User.objects.filter(username=user_id).exists()
        or bound.filter(status=Pairing.Status.APPROVED).exists()
        or any(somebody_has(account.slug, user_id) for somebody_has in in_use)
    )


def principal_of(row: Pairing) -> Principal | None:
    """Who this device is; None when its user has been deactivated."""
    account = row.account
    if identity.is_shut_out(account.slug, row.user_id):
        return None
    person = (user_handle(account.slug, row.user_id),) if row.user_id else ()
    return Principal(
        id=row.user_id,
        account=account.slug,
        role="operator",
        account_id=str(account.uuid),
        account_name=account.name,
        handles=(*person, row.handle),
        expires_at=row.approved_until.timestamp() if row.approved_until else None,
        via="device",
    )
