"""Edge agents and the clock, for the tests of commands."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import pytest

from accounts.models import Account, EdgeAgent
from realtime.core.principal import Principal
from sessions_app.models import CommandEvent, Presence, ScheduledCommand
from sessions_app.services import acknowledgements, agents, claims, clock, commands, nodes, taking


def keep_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if something were always under way to the agents: dispatchers lease what is due."""
    monkeypatch.setattr(agents, "is_idle", lambda agent, now: False)


LEASE_S = 30  # COMMAND_LEASE_S, its default


class Clock:
    """The database's clock, to be set forward and back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offset = dt.timedelta()
        real = clock.now
        monkeypatch.setattr(clock, "now", lambda: real() + self.offset)

    def step(self, seconds: float) -> None:
        self.offset += dt.timedelta(seconds=seconds)


class Agent:
    """What an edge agent does, at the level of the services."""

    _numbers = itertools.count(1)

    def __init__(self, agent_id: str = "edge_1", account: str = "default") -> None:
        Account.objects.get_or_create(slug=account, defaults={"name": account})
        self.principal = Principal(id=agent_id, account=account, via="edge")
        self.connection = ""

    @property
    def row(self) -> EdgeAgent:
        return EdgeAgent.objects.get(
            account__slug=self.principal.account, agent_id=self.principal.id
        )

    def connect(self, node: str = "node-1") -> str:
        nodes.renew(node=node, host="here", pid=1, lease_s=600)
        self.connection = f"connection-{next(self._numbers)}"
        Presence.objects.create(
            pk=self.connection,
            node=node,
            account=Account.objects.get(slug=self.principal.account),
            protocol="edge",
            user=self.principal.id,
        )
        agents.hold(principal=self.principal, connection=self.connection)
        return self.connection

    def disconnect(self) -> None:
        Presence.objects.filter(pk=self.connection).delete()
        agents.released(principal=self.principal, connection=self.connection)

    def take(self, connection: str = "", *, called: bool = True, **fields: Any) -> list[str]:
        """The ids of the commands that it is given, and of those that it is told to ask for."""
        connection = connection or self.connection
        more, ids = True, []
        while more:
            given = taking.take(
                principal=self.principal, connection=connection, called=called, **fields
            )
            ids += [frame["data"]["command_id"] for frame in given["commands"]]
            more = called = given["more"]
        return ids

    def take_due(self) -> list[str]:
        claims.claim(dispatcher="d1")
        return self.take()

    def ack(self, command: ScheduledCommand | str, status: str, **fields: Any) -> bool:
        pk = command if isinstance(command, str) else command.pk
        answer = acknowledgements.acknowledge(
            principal=self.principal, command_id=pk, status=status, **fields
        )
        return bool(answer["recorded"])


def queue(principal: Principal, agent_id: str = "edge_1", **fields: Any) -> ScheduledCommand:
    """A command for an agent, by `principal`, due at once unless said otherwise."""
    asked = {"command_type": "set_rule", "payload": {}, **fields}
    return commands.schedule(principal=principal, agent_id=agent_id, **asked)[0]


def now(command: ScheduledCommand) -> ScheduledCommand:
    """The command as it stands in the database."""
    return ScheduledCommand.objects.get(pk=command.pk)


def kinds(command: ScheduledCommand) -> list[str]:
    """The kinds of a command's events, in order."""
    events = CommandEvent.objects.filter(command=command).order_by("pk")
    return list(events.values_list("kind", flat=True))
