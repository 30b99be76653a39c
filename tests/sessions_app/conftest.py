"""The people and the process that every test here needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accounts.models import Account, Membership, User
from accounts.services import tokens
from realtime.core.addresses import Address
from realtime.core.events import Event
from realtime.core.principal import Principal
from realtime.models import Announcement
from sessions_app.models import Session
from sessions_app.services import chat, nodes

NODE = "node-1"
Told = tuple[list[Address], Event]


@pytest.fixture
def accounts(db: None) -> None:
    """Two tenants."""
    Account.objects.get_or_create(slug="default", defaults={"name": "Default"})
    Account.objects.get_or_create(slug="other", defaults={"name": "Other"})


@pytest.fixture
def node(db: None) -> str:
    """A living process."""
    nodes.renew(node=NODE, host="here", pid=1, lease_s=60)
    return NODE


@pytest.fixture
def dead_node(db: None) -> str:
    """A process whose lease has lapsed."""
    nodes.renew(node="node-dead", host="here", pid=2, lease_s=-1)
    return "node-dead"


@pytest.fixture
def alice(accounts: None) -> Principal:
    """The owner."""
    return Principal(id="alice", account="default", role="operator")


@pytest.fixture
def bob(accounts: None) -> Principal:
    """A stranger in the same account."""
    return Principal(id="bob", account="default", role="operator")


@pytest.fixture
def admin(accounts: None) -> Principal:
    return Principal(id="root", account="default", role="admin")


@pytest.fixture
def other_alice(accounts: None) -> Principal:
    """Somebody of the same name in another account."""
    return Principal(id="alice", account="other", role="operator")


@pytest.fixture
def other_admin(accounts: None) -> Principal:
    return Principal(id="root", account="other", role="admin")


@pytest.fixture
def worker(accounts: None) -> Principal:
    """Who shows a key of alice's for workers."""
    return Principal(id="alice", account="default", scopes=frozenset({"sessions.work"}))


@pytest.fixture
def people(
    alice: Principal,
    bob: Principal,
    admin: Principal,
    other_alice: Principal,
    other_admin: Principal,
) -> dict[str, Principal]:
    return {
        "owner": alice,
        "stranger": bob,
        "admin": admin,
        "other tenant's owner": other_alice,
        "other tenant's admin": other_admin,
    }


@pytest.fixture
def say(node: str, alice: Principal) -> Callable[..., chat.Sent]:
    """`chat.send`, by alice and for `s` unless said otherwise."""

    def send(message: str, **fields: Any) -> chat.Sent:
        return chat.send(
            **{"principal": alice, "node": node, "session_key": "s", "message": message} | fields
        )

    return send


@pytest.fixture
def session(alice: Principal) -> Session:
    """Alice's session `s`, with two messages."""
    account = Account.objects.get(slug="default")
    session = Session.objects.create(account=account, key="s", owner=alice.id, agent="echo")
    session.append(kind="user", author=alice.id, content="hello")
    session.append(kind="assistant", author="echo", content="hello back")
    return session


@pytest.fixture
def bearer(accounts: None) -> Callable[..., dict[str, str]]:
    """`bearer(name, role, account="default")`: the headers of a new user with that role there."""

    def make(name: str, role: str, account: str = "default") -> dict[str, str]:
        user = User.objects.create_user(name)
        home = Account.objects.get(slug=account)
        Membership.objects.create(user=user, account=home, role=role)
        return {"authorization": f"Bearer {tokens.issue(user=user)['access']}"}

    return make


@pytest.fixture
def told(db: None) -> Callable[..., list[Told]]:
    """What has been announced, oldest first; with a name, only events of that name."""

    def read(name: str = "") -> list[Told]:
        rows = Announcement.objects.order_by("id")
        said = [(targets, event) for row in rows for targets, some in row.said for event in some]
        return [fact for fact in said if not name or fact[1].name == name]

    return read


@pytest.fixture
def run_events(told: Callable[..., list[Told]]) -> Callable[[], list[str]]:
    """The types of the announced `agent` events, in order."""
    return lambda: [event.data["type"] for _, event in told("agent")]


@pytest.fixture
def folders(settings: Any, tmp_path: Path) -> Path:
    """Storage and temporary folder of this test alone; the storage's."""
    (tmp_path / "incoming").mkdir()
    options = {**settings.STORAGES["media"]["OPTIONS"], "location": tmp_path / "media"}
    row = {**settings.STORAGES["media"], "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "media": row}
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "incoming"
    return tmp_path / "media"
