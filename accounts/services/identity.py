"""Users as principals. Source: PROTOCOLS.md 6 (identity, account)."""

from __future__ import annotations

from accounts.models import DEFAULT_ACCOUNT, Account, Membership, User, user_handle
from realtime.core.principal import Principal


def role_in(user: User, account: Account) -> str | None:
    """The role of `user` in `account`; None: no business there.

    A membership alone gives a role, whatever other flags say; superusers are owners everywhere.
    """
    if user.is_superuser:
        return Membership.Role.OWNER.value
    membership = user.memberships.filter(account=account).first()
    return membership.role if membership else None


def principal_of(
    user: User,
    account: Account,
    *,
    via: str,
    handles: tuple[str, ...] = (),
    expires_at: float | None = None,
) -> Principal | None:
    """`user` acting in `account`; None when inactive or without a role there."""
    role = role_in(user, account)
    if not user.is_active or role is None:
        return None
    return Principal(
        id=user.username,
        account=account.slug,
        role=role,
        account_id=str(account.uuid),
        account_name=account.name,
        is_superuser=user.is_superuser,
        handles=(user_handle(account.slug, user.username), *handles),
        expires_at=expires_at,
        via=via,
    )


def is_shut_out(account: str, user_id: str) -> bool:
    """Whether `user_id` names a user who may not act in the account, whatever else is shown.

    That is a deactivated one or, in `default`, one who is a member of no account (any more).
    """
    if not user_id:
        return False
    named = User.objects.filter(username=user_id)
    if named.in_account(account).filter(is_active=False).exists():
        return True
    return account == DEFAULT_ACCOUNT and named.nowhere().exists()
