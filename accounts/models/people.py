"""People and tenants."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser
from django.contrib.auth.models import UserManager as DjangoUserManager
from django.core.validators import RegexValidator
from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.crypto import salted_hmac

from realtime.bus.announce import announce
from realtime.core import addresses
from realtime.core.events import DISCONNECT, Event

DEFAULT_ACCOUNT = "default"
DEFAULT_ACCOUNT_UUID = uuid.UUID("0193a5b0-7000-7000-8000-000000000001")
MAX_ID = 255  # characters of a wire user id


class Account(models.Model):
    """A tenant. `uuid` is what the wires call tenant_id. Source: PROTOCOLS.md 6."""

    slug = models.CharField(
        max_length=64, unique=True, validators=[RegexValidator(r"^[a-z0-9][a-z0-9_-]*\Z")]
    )
    name = models.CharField(max_length=255)
    uuid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.slug

    @classmethod
    def default(cls) -> Account:
        """The account of whatever names none; `migrate` creates it."""
        fresh = {"name": "Default", "uuid": DEFAULT_ACCOUNT_UUID}
        return cls.objects.get_or_create(slug=DEFAULT_ACCOUNT, defaults=fresh)[0]


class UserQuerySet(models.QuerySet["User"]):
    def in_account(self, slug: str) -> UserQuerySet:
        """The account's people: its members and, in `default`, superusers."""
        there = Q(memberships__account__slug=slug)
        if slug == DEFAULT_ACCOUNT:
            there |= Q(is_superuser=True)
        return self.filter(there).distinct()

    def nowhere(self) -> UserQuerySet:
        """Those whom no account lets in."""
        return self.filter(memberships__isnull=True, is_superuser=False)


class UserManager(DjangoUserManager.from_queryset(UserQuerySet)):  # type: ignore[misc]
    def create_superuser(self, *args: Any, **kwargs: Any) -> User:
        """Django's, and an owner of the default account."""
        with transaction.atomic():
            user: User = super().create_superuser(*args, **kwargs)
            role = Membership.Role.OWNER
            Membership.objects.create(user=user, account=Account.default(), role=role)
        return user


class User(AbstractUser):
    """A person. `session_epoch` is a claim of every token: raising it logs out everywhere."""

    session_epoch = models.PositiveIntegerField(default=0, editable=False)

    objects: ClassVar[UserManager] = UserManager()

    _password: str | None  # Django's: a new password that is not saved yet
    _password_disabled = False

    def home(self) -> Account:
        """The account that this person acts in: the first membership's, else the default one."""
        first = self.memberships.select_related("account").order_by("pk").first()
        return first.account if first else Account.default()

    def set_unusable_password(self) -> None:
        super().set_unusable_password()
        self._password_disabled = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        # Django keeps `_password` for a new password only, not for a re-hash of the old one. Here
        # and not in a form: the command line and the stock password page end here too.
        changed = self._password is not None or self._password_disabled
        changed = changed and not self._state.adding
        if not self._state.adding and kwargs.get("update_fields") is None and not args:
            # A copy read before a log-out everywhere must not undo it.
            names = {field.name for field in self._meta.concrete_fields if not field.primary_key}
            kwargs["update_fields"] = names - {"session_epoch"}
        with transaction.atomic():
            super().save(*args, **kwargs)
            if changed:
                self.end_sessions()
        self._password_disabled = False

    def end_sessions(self) -> None:
        """Log out everywhere: refresh and access tokens, admin sessions, open sockets."""
        with transaction.atomic():
            User.objects.filter(pk=self.pk).update(session_epoch=F("session_epoch") + 1)
            self.refresh_from_db(fields=["session_epoch"])
            self.refresh_families.filter(revoked_at=None).update(revoked_at=timezone.now())
            self.disconnect()

    def disconnect(self) -> None:
        """Close this person's sockets in every account; what they show at the door stays valid."""
        slugs = {self.home().slug}
        slugs.update(self.memberships.values_list("account__slug", flat=True))
        slugs.update(self.api_keys.values_list("account__slug", flat=True))
        targets = [addresses.handle(user_handle(slug, self.username)) for slug in sorted(slugs)]
        announce(targets, Event(DISCONNECT))

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        salt = "accounts.User.get_session_auth_hash"
        value = f"{self.session_epoch}:{self.password}"
        return salted_hmac(salt, value, secret=secret, algorithm="sha256").hexdigest()


def user_handle(account: str, user_id: str) -> str:
    """The `Principal.handles` entry of a person in an account."""
    return f"user:{account}:{user_id}"


class Membership(models.Model):
    class Role(models.TextChoices):
        VIEWER = "viewer"
        OPERATOR = "operator"
        ADMIN = "admin"
        OWNER = "owner"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.VIEWER)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "account"], name="one_membership_per_account")
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.account}: {self.role}"
