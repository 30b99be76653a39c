"""`logs.tail`: the log lines that one administrator follows. Source: PROTOCOLS.md 2.8."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from realtime.core import addresses, loglines
from realtime.core.effects import Effect, Effects, Join, Leave, Publish, SendText
from realtime.core.events import Event
from realtime.core.principal import Principal


@dataclass(frozen=True, slots=True)
class Follow:
    """Follow the log from `level` on; an empty level: no more."""

    level: str


class Tail:
    """What a connection follows. It ends with the connection and with every new identity."""

    def __init__(self, connection: str) -> None:
        self._connection = connection
        self._level = ""

    def heed(self, asked: Follow, who: Principal) -> list[Effect]:
        """Begin, change the level, or end."""
        accounts = _accounts(who)
        if not asked.level:
            return [*(Leave(addresses.logs(account)) for account in accounts), *self.end()]
        self._level = asked.level
        wish = {"connection": self._connection, "accounts": accounts, "level": asked.level}
        joins = [Join(addresses.logs(account)) for account in accounts]
        return [*joins, _to_processes(loglines.FOLLOW, wish)]

    def end(self) -> list[Effect]:
        """Nothing more is told; where the peer listened is left by whoever knows it."""
        if not self._level:
            return []
        self._level = ""
        return [_to_processes(loglines.UNFOLLOW, {"connection": self._connection})]

    def tell(self, event: Event, render: Callable[[], str]) -> Effects:
        """A line, if it is of the level that is followed."""
        if not self._level or loglines.rank(event.data["level"]) < loglines.rank(self._level):
            return []
        return [SendText(event.rendered("goclaw", render))]


def _accounts(who: Principal) -> list[str]:
    """The own account; the master scope and superusers also see what names no account."""
    everything = who.account == "default" or who.is_superuser
    return [who.account, loglines.NO_ACCOUNT] if everything else [who.account]


def _to_processes(name: str, data: dict[str, Any]) -> Publish:
    return Publish([addresses.nodes()], Event(name, data))
