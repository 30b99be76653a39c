"""Paired browsers as a credential. Source: PROTOCOLS.md 2.4 (3a) and its identity hazard."""

from __future__ import annotations

from django.utils import timezone

from accounts.models import Pairing, user_handle
from accounts.services import identity
from accounts.services.pairing_requests import BROWSER
from accounts.services.pairing_words import is_sender_id
from realtime.core.principal import Principal


def recognise(sender_id: str, *, claimed_id: str = "") -> Principal | None:
    """The principal of a paired device; None for anything else.

    The user id is the one bound at the pairing. Where none was, the first one claimed is bound now
    and for good; of two claims at once one wins.
    """
    if not is_sender_id(sender_id):
        return None
    paired = Pairing.objects.select_related("account").paired(timezone.now())
    row = paired.filter(sender_id=sender_id, channel=BROWSER, proof=True).first()
    if row is None:
        return None
    if not row.user_id and claimed_id and not identity.is_shut_out(row.account.slug, claimed_id):
        Pairing.objects.filter(pk=row.pk, user_id="").update(user_id=claimed_id)
        row.refresh_from_db(fields=["user_id"])
    return principal_of(row)


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
