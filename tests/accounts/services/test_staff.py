"""The admin's session as a credential: who is recognised, for how long, and what ends it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from accounts.models import User
from accounts.services import credentials, staff
from realtime.core.credentials import StaffSession
from realtime.core.errors import BadCredentials, Revoked, RoleTooLow
from realtime.core.principal import Principal


def recognised(client: Client) -> Principal:
    return staff.recognise(credential=StaffSession(session_key=client.session.session_key))


def test_an_administrators_session_is_theirs_until_it_ends(boss: User, at_admin: Any) -> None:
    client = at_admin(boss)
    ends = timezone.now() + dt.timedelta(minutes=5)
    Session.objects.update(expire_date=ends)
    who = recognised(client)
    assert (who.id, who.account, who.role, who.via) == ("boss", "default", "admin", "session")
    assert who.expires_at == pytest.approx(ends.timestamp(), abs=0.001)
    assert not any(client.session.session_key in handle for handle in who.handles)


def test_who_is_no_staff_or_nobody_is_refused(alice: User, at_admin: Any) -> None:
    with pytest.raises(BadCredentials):
        recognised(at_admin(alice))
    for key in ("", "unknown", "x" * 500):
        with pytest.raises(BadCredentials):
            staff.recognise(credential=StaffSession(session_key=key))


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_staff_who_are_no_administrators_are_refused(boss: User, at_admin: Any, role: str) -> None:
    boss.memberships.update(role=role)
    with pytest.raises(RoleTooLow):
        recognised(at_admin(boss))


def test_an_expired_or_outdated_session_is_none(boss: User, at_admin: Any) -> None:
    client = at_admin(boss)
    key = StaffSession(session_key=client.session.session_key)
    boss.set_password("another one 43")
    boss.save()
    with pytest.raises(BadCredentials):
        staff.recognise(credential=key)
    other = at_admin(boss)
    key = StaffSession(session_key=other.session.session_key)
    Session.objects.update(expire_date=timezone.now() - dt.timedelta(seconds=1))
    with pytest.raises(BadCredentials):
        staff.recognise(credential=key)


@pytest.mark.parametrize("end", ["log-out", "log-in as somebody else", "cleared"])
def test_the_end_of_a_session_is_told_to_its_pages_only(
    boss: User, root: User, at_admin: Any, shut: Any, end: str
) -> None:
    client, elsewhere = at_admin(boss), at_admin(boss)
    mine = {handle for handle in recognised(client).handles if handle.startswith("session:")}
    theirs = {handle for handle in recognised(elsewhere).handles if handle.startswith("session:")}
    assert not shut() & (mine | theirs)
    if end == "log-out":
        client.logout()
    elif end == "cleared":
        Session.objects.filter(pk=client.session.session_key).delete()
    else:
        client.force_login(root, backend="django.contrib.auth.backends.ModelBackend")
    assert mine <= shut()
    assert not theirs & shut()


@pytest.mark.parametrize("end", ["log-out", "log-out everywhere", "no staff", "no superuser"])
def test_what_ended_while_the_page_was_connecting_closes_it(
    root: User, at_admin: Any, end: str
) -> None:
    client = at_admin(root)
    at_admin(root)  # another log-in of the same person changes nothing
    who = recognised(client)
    credentials.check(principal=who)
    if end == "log-out":
        client.logout()
    elif end == "log-out everywhere":
        root.end_sessions()
    elif end == "no staff":
        User.objects.filter(pk=root.pk).update(is_staff=False)
    else:
        root.memberships.update_or_create(account=root.home(), defaults={"role": "owner"})
        User.objects.filter(pk=root.pk).update(is_superuser=False)
    with pytest.raises(Revoked):
        credentials.check(principal=who)


def test_a_visitors_session_is_nobodys(client: Client, db: None, shut: Any) -> None:
    session = client.session
    session["theme"] = "dark"
    session.save()
    session.delete()
    assert shut() == set()
