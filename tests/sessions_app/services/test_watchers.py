"""Who is at a session. Source: issue 6, Console; PROTOCOLS.md 4.5."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from realtime.core.errors import NotFound
from realtime.core.principal import Principal
from sessions_app.models import Presence, Session
from sessions_app.services import members, presence, watchers

Enter = Callable[..., None]


@pytest.fixture
def enter(node: str, session: Session, settings: Any) -> Enter:
    """`enter(connection, principal, part, name)`: at the session, called by its `name`."""
    settings.REDIS_URL = ""

    def go(connection: str, principal: Principal, part: str = "subscribe", name: str = "") -> None:
        presence.arrive(
            principal=principal,
            connection=connection,
            node=node,
            protocol="remote",
            place=f"session:{name or session.public_id}",
            client_id=part,
        )

    return go


def parts(principal: Principal, session: Session) -> list[tuple[str, str]]:
    found = watchers.here(principal=principal, session_id=session.public_id)
    assert (found["agent"], found["key"]) == (session.agent, session.key)
    return [(one["user"], one["part"]) for one in found["data"]]


def test_each_person_is_there_once_by_whichever_name_of_the_session(
    enter: Enter, session: Session, alice: Principal, admin: Principal
) -> None:
    assert parts(alice, session) == []
    enter("1", alice)
    enter("2", alice, name=session.key)
    enter("3", admin, name=session.key)
    enter("4", alice, part="worker")
    enter("5", admin, name="another")
    told = [("alice", "viewer"), ("root", "viewer"), ("alice", "worker")]
    assert parts(alice, session) == parts(admin, session) == told
    presence.depart(connection="3")
    assert parts(alice, session) == [told[0], told[2]]


def test_who_says_nothing_any_more_is_not_there(
    enter: Enter, session: Session, alice: Principal, settings: Any
) -> None:
    enter("1", alice)
    long_ago = timezone.now() - dt.timedelta(seconds=settings.PRESENCE_TTL_S + 1)
    Presence.objects.update(last_seen=long_ago)
    assert parts(alice, session) == []


def test_nobody_else_learns_who_is_there(
    session: Session, bob: Principal, other_admin: Principal
) -> None:
    for stranger in (bob, other_admin):
        with pytest.raises(NotFound):
            watchers.here(principal=stranger, session_id=session.public_id)


def test_two_people_at_a_session_are_two_members_of_the_account(
    enter: Enter, alice: Principal, admin: Principal
) -> None:
    enter("1", alice)
    enter("2", admin)
    enter("3", alice)
    assert [one.user for one in members.everyone(principal=alice)] == ["alice", "root"]
