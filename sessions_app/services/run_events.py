"""What is told about a run, and to whom. Source: PROTOCOLS.md 2.7."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from realtime.bus.announce import announce
from realtime.core import addresses
from realtime.core.addresses import Address
from realtime.core.events import Event
from sessions_app.models import Run, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What every event of one run repeats; safe to hold without a database."""

    id: str
    account: str
    owner: str
    session_key: str
    session_id: str  # its public id
    channel: str
    agent_id: str
    agent: str
    connection: str
    stream: bool


def facts(run: Run, session: Session) -> RunFacts:
    return RunFacts(
        id=str(run.pk),
        account=session.account.slug,
        owner=session.owner,
        session_key=session.key,
        session_id=session.public_id,
        channel=session.channel,
        agent_id=run.agent_id,
        agent=run.agent,
        connection=run.connection,
        stream=run.stream,
    )


def event(run: RunFacts, kind: str, payload: dict[str, Any], *, after: int = 0) -> Event:
    """An `agent` event of PROTOCOLS.md 2.7; `_connection` is for us and never goes on the wire."""
    data = {
        "type": kind,
        "agentId": run.agent_id,
        "runId": run.id,
        "payload": payload,
        "userId": run.owner,
        "channel": run.channel,
        "chatId": run.owner,
        "sessionKey": run.session_key,
        "_connection": run.connection,
    }
    return Event("agent", data, after=after)


def audience(run: RunFacts) -> list[Address]:
    """All sockets of the session's owner, and the account's administrators."""
    return listeners(run.account, run.owner)


def watchers(run: RunFacts) -> list[Address]:
    """Who watches the session in 002."""
    return [addresses.session(run.account, run.session_id)]


def listeners(account: str, owner: str) -> list[Address]:
    return [addresses.user(account, owner), addresses.admins(account)]


def tell_label(session: Session) -> None:
    """Announce the session's present label."""
    told = {"sessionKey": session.key, "label": session.label, "userId": session.owner}
    announce(listeners(session.account.slug, session.owner), Event("session.updated", told))
