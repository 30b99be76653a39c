from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import OperationalError

from accounts.models import Account
from realtime.core.errors import NotFound
from realtime.core.principal import Principal
from sessions_app.services import overview, presence
from sessions_app.services.sent import Sent

Say = Callable[..., Sent]


@pytest.fixture
def busy(say: Say, people: dict[str, Principal], node: str) -> None:
    """Everybody has one connection; alice has an active run, bob a session."""
    for number, principal in enumerate(people.values()):
        presence.arrive(
            principal=principal,
            connection=f"c-{number}",
            node=node,
            protocol="goclaw",
            address="127.0.0.1",
        )
    say("slow 9")
    say("hello", session_key="o", principal=people["other tenant's owner"])


def test_health_shows_clients_to_admins_only(busy: None, people: dict[str, Principal]) -> None:
    seen = {
        who: [client["id"] for client in overview.health(principal=principal)["clients"]]
        for who, principal in people.items()
    }
    assert seen == {
        "owner": [],
        "stranger": [],
        "admin": ["c-0", "c-1", "c-2"],
        "other tenant's owner": [],
        "other tenant's admin": ["c-3", "c-4"],
    }


def test_health_has_the_field_names_of_the_clients(busy: None, admin: Principal) -> None:
    health = overview.health(principal=admin, connection="c-2")
    assert set(health) == {
        "status",
        "version",
        "uptime",
        "mode",
        "database",
        "tools",
        "clients",
        "currentId",
    }
    assert (health["status"], health["database"], health["currentId"]) == ("ok", "ok", "c-2")
    assert isinstance(health["uptime"], int)
    client = health["clients"][0]
    assert client.pop("connectedAt").endswith("Z")
    assert client == {
        "id": "c-0",
        "remoteAddr": "127.0.0.1",
        "userId": "alice",
        "role": "operator",
    }


@pytest.mark.parametrize("who", ["admin", "owner"])
def test_health_tells_of_a_database_that_is_away(
    people: dict[str, Principal], who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(Account.objects, "exists", away)
    health = overview.health(principal=people[who])
    assert (health["database"], health["clients"]) == ("error", [])


@pytest.mark.parametrize(
    ("who", "clients", "sessions", "running"),
    [
        ("owner", 1, 1, True),
        ("stranger", 1, 0, False),
        ("admin", 3, 1, True),
        ("other tenant's owner", 1, 1, True),
        ("other tenant's admin", 2, 1, True),
    ],
)
def test_status_counts_what_the_caller_may_see(
    busy: None,
    people: dict[str, Principal],
    who: str,
    clients: int,
    sessions: int,
    running: bool,
) -> None:
    status = overview.status(principal=people[who])
    assert (status["clients"], status["sessions"]) == (clients, sessions)
    assert (status["agentTotal"], status["agents"][0]["isRunning"]) == (2, running)


def test_the_agents_are_listed(alice: Principal) -> None:
    assert overview.agents(principal=alice) == {
        "agents": [
            {
                "id": "echo",
                "name": "Echo",
                "model": "echo",
                "provider": "builtin",
                "agentType": "builtin",
                "status": "active",
                "isRunning": False,
            },
            {
                "id": "worker",
                "name": "Worker",
                "model": "worker",
                "provider": "worker",
                "agentType": "builtin",
                "status": "active",
                "isRunning": False,
            },
        ]
    }


@pytest.mark.parametrize("name", ["echo", "default", ""])
@pytest.mark.parametrize(
    ("who", "running"),
    [("owner", True), ("stranger", False), ("admin", True), ("other tenant's admin", True)],
)
def test_an_agent_runs_as_far_as_the_caller_may_see(
    busy: None, people: dict[str, Principal], who: str, running: bool, name: str
) -> None:
    asked = {"principal": people[who], "agent_id": name}
    assert overview.agent(**asked) == {"id": "echo", "isRunning": running}
    status = "running" if running else "idle"
    assert overview.await_agent(**asked) == {"id": "echo", "status": status}


def test_an_agent_says_what_it_is(alice: Principal) -> None:
    assert overview.identify_agent(principal=alice, agent_id="default") == {
        "id": "echo",
        "name": "Echo",
        "agentType": "builtin",
        "model": "echo",
        "provider": "builtin",
        "status": "active",
    }


@pytest.mark.parametrize("service", [overview.agent, overview.await_agent, overview.identify_agent])
def test_an_unknown_agent_is_not_found(alice: Principal, service: Callable[..., object]) -> None:
    with pytest.raises(NotFound, match="^agent not found: nobody$"):
        service(principal=alice, agent_id="nobody")


def test_the_only_tenant_is_ones_own(people: dict[str, Principal]) -> None:
    other = Account.objects.get(slug="other")
    assert overview.tenants(principal=people["other tenant's admin"]) == {
        "tenants": [
            {"id": str(other.uuid), "name": "Other", "slug": "other", "role": "admin"},
        ]
    }
    assert overview.tenants(principal=Principal(id="a", account="nowhere")) == {"tenants": []}
