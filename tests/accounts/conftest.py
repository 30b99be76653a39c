"""Two tenants and their people: the owner, the stranger, the admin; and what was announced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from accounts.models import Account, Membership, User
from accounts.services import credentials, pairing
from realtime.core.addresses import Address
from realtime.core.credentials import ConnectToken, PendingPairing
from realtime.core.events import DISCONNECT, Event
from realtime.core.limits import Buckets
from realtime.core.principal import Principal
from realtime.models import Announcement

PASSWORD = "correct horse 42"
GATEWAY_TOKEN = "gateway-token-for-tests"


@pytest.fixture(autouse=True)
def settled(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The values of CONTRACT, and a limiter that has seen nobody."""
    settings.GATEWAY_TOKEN = GATEWAY_TOKEN
    settings.GATEWAY_OWNER_IDS = []
    settings.PAIRING_TTL_S = 3600
    settings.PAIRING_MAX_PENDING = 3
    settings.PAIRING_MAX_PENDING_TOTAL = 200
    settings.PAIRED_DEVICE_TTL_S = 30 * 86400
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    fresh = Buckets(per_minute=pairing.STATUS_PER_MINUTE, burst=pairing.STATUS_PER_MINUTE)
    monkeypatch.setattr(pairing, "_questions", fresh)


@pytest.fixture
def default(db: None) -> Account:
    return Account.default()


@pytest.fixture
def other(db: None) -> Account:
    return Account.objects.create(slug="other", name="Other")


def person(name: str, account: Account, role: str, **fields: Any) -> User:
    user = User.objects.create_user(name, password=PASSWORD, **fields)
    Membership.objects.create(user=user, account=account, role=role)
    return user


@pytest.fixture
def alice(default: Account) -> User:
    """The owner of what is asked for."""
    return person("alice", default, "operator")


@pytest.fixture
def bob(default: Account) -> User:
    """A stranger in the same account."""
    return person("bob", default, "operator")


@pytest.fixture
def boss(default: Account) -> User:
    """The account's administrator."""
    return person("boss", default, "admin", is_staff=True)


@pytest.fixture
def other_boss(other: Account) -> User:
    """Another account's administrator."""
    return person("otherboss", other, "admin", is_staff=True)


@pytest.fixture
def root(default: Account) -> User:
    return User.objects.create_superuser("root", password=PASSWORD)


@pytest.fixture
def admin(boss: User) -> Principal:
    return credentials.of_user(user=boss)


@pytest.fixture
def other_admin(other_boss: User) -> Principal:
    return credentials.of_user(user=other_boss)


@pytest.fixture
def stranger(bob: User) -> Principal:
    return credentials.of_user(user=bob)


Connect = Callable[..., Principal | PendingPairing]


@pytest.fixture
def connect(default: Account) -> Connect:
    """`connect` with the fields that matter."""
    return lambda **fields: credentials.connect(credential=ConnectToken(**fields))


Ask = Callable[..., PendingPairing]


@pytest.fixture
def ask(connect: Connect) -> Ask:
    """A browser's tokenless connect, by alice from 10.0.0.1 unless said otherwise."""

    def go(**fields: Any) -> PendingPairing:
        waiting = connect(**({"user_id": "alice", "address": "10.0.0.1"} | fields))
        assert isinstance(waiting, PendingPairing)
        return waiting

    return go


@pytest.fixture
def paired(ask: Ask, admin: Principal) -> PendingPairing:
    """Alice's browser, approved."""
    waiting = ask()
    pairing.approve(principal=admin, code=waiting.code)
    return waiting


Told = list[tuple[list[Address], Event]]


@pytest.fixture
def told(db: None) -> Callable[..., Told]:
    """What has been announced, oldest first; with a name, only that."""

    def read(name: str = "") -> Told:
        rows = Announcement.objects.order_by("id")
        said = [(targets, event) for row in rows for targets, some in row.said for event in some]
        return [fact for fact in said if not name or fact[1].name == name]

    return read


@pytest.fixture
def shut(told: Callable[..., Told]) -> Callable[[], set[str]]:
    """The handles whose sockets have been told to close."""
    return lambda: {target.key for targets, _ in told(DISCONNECT) for target in targets}


def bearer(token: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


@pytest.fixture
def at_admin() -> Iterator[Callable[[User], Client]]:
    """Someone logged in to the Django admin, with CSRF checked as in a real browser."""

    def log_in(user: User) -> Client:
        client = Client(enforce_csrf_checks=True)
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    yield log_in


# 32 characters that nobody mistakes for each other (PROTOCOLS.md 2.5).
ALPHABET = set("ABCDEFGHJKLMNPQRSTUVWXYZ23456789")
