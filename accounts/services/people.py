"""Users by name, for the command line."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.models import Account, Membership, User
from realtime.core.errors import Conflict, InvalidParams, NotFound
from realtime.core.principal import rank


@transaction.atomic
def create(*, username: str, password: str | None, role: str, account: str) -> Membership:
    """A new user and member of `account`, which is made if there is none of that slug.

    Without a password none works. An administrator may use the Django admin. Raises
    InvalidParams, Conflict.
    """
    if password == "":
        raise InvalidParams("the password is empty")
    there = Account.default() if account == "default" else _account(account)
    user = User(username=username, is_staff=rank(role) >= rank("admin"))
    user.set_password(password)
    try:
        user.clean_fields(exclude=["password", "email", "first_name", "last_name"])
    except ValidationError as error:
        raise InvalidParams("; ".join(error.messages)) from None
    if User.objects.filter(username=user.username).exists():
        raise Conflict(f"user {username} exists already")
    user.save(force_insert=True)
    return Membership.objects.create(user=user, account=there, role=role)


def _account(slug: str) -> Account:
    try:
        Account(slug=slug, name=slug).clean_fields()
    except ValidationError as error:
        raise InvalidParams(f"account {slug!r}: {' '.join(error.messages)}") from None
    return Account.objects.get_or_create(slug=slug, defaults={"name": slug})[0]


def named(username: str) -> User:
    """Raises NotFound."""
    user = User.objects.filter(username=username).first()
    if user is None:
        raise NotFound(f"no such user: {username}")
    return user
