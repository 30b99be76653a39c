"""Users as principals. Source: PROTOCOLS.md 6 (identity, account)."""

from __future__ import annotations

from accounts.models import DEFAULT_ACCOUNT, Account, Membership, User, user_handle
from realtime.core.principal import Principal


def role_in(user: User, account: Account) -> str | None:
    """The role of `user` in `account`; None: no business there."""
    if user.is_superuser:
        return Membership.Role.OWNER.value
    memberships = list(user.memberships.all())
    for membership in memberships:
        if membership.account_id == account.pk:
            return membership.role
    if memberships or account.slug != DEFAULT_ACCOUNT:
        return None
    return Membership.Role.ADMIN.value if user.is_staff else Membership.Role.VIEWER.value


def principal_of(
    user: User, account: Account, *, via: str, handles: tuple[str, ...] = ()
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
        via=via,
    )


def is_shut_out(account: str, user_id: str) -> bool:
    """Whether `user_id` names a deactivated user of the account, whatever else is shown."""
    if not user_id:
        return False
    return User.objects.in_account(account).filter(username=user_id, is_active=False).exists()
