"""Every method x everybody, through the services: roles, ownership and tenants at once.

Source: PROTOCOLS.md 2.3, 2.6 to 2.8, 6.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from django.db import transaction

from accounts.models import Account, ApiKey, Membership, User
from accounts.services import credentials, keys, pairing
from realtime.core.credentials import ConnectToken, PendingPairing
from realtime.core.errors import GatewayError, NotConnected, NotFound, NotOwner, RoleTooLow
from realtime.core.principal import Principal
from realtime.dispatch import SERVICES
from realtime.protocols.goclaw import GoclawProtocol
from realtime.protocols.goclaw.frames import Request
from realtime.protocols.goclaw.methods import HANDLERS, POLICY, PUBLIC, handler_for
from realtime.protocols.goclaw.requests import Caller, build
from realtime.protocols.goclaw.tail import Follow
from sessions_app.models import Session
from sessions_app.services import nodes

pytestmark = pytest.mark.django_db

SESSION = "alices-session"
# name: role, account
PEOPLE = {
    "vera": ("viewer", "default"),
    "bob": ("operator", "default"),
    "alice": ("operator", "default"),
    "boss": ("admin", "default"),
    "carol": ("admin", "other"),
}
# Methods about something of alice's account, with the params that name it.
OF_A_SESSION = {
    "chat.history": {"sessionKey": SESSION},
    "chat.inject": {"sessionKey": SESSION, "message": "x"},
    "chat.abort": {"sessionKey": SESSION},
    "chat.session.status": {"sessionKey": SESSION},
    "chat.session_status": {"sessionKey": SESSION},
    "sessions.preview": {"key": SESSION},
    "sessions.patch": {"key": SESSION, "label": "x"},
    "sessions.delete": {"key": SESSION},
    "sessions.reset": {"key": SESSION},
    "sessions.compact": {"key": SESSION},
}
OF_THE_ACCOUNT = {
    "device.pair.approve": ("code",),
    "device.pair.deny": ("code",),
    "device.pair.revoke": ("id",),
    "api_keys.revoke": ("id",),
}
OTHERS: dict[str, dict[str, Any]] = {
    "chat.send": {"sessionKey": SESSION, "message": "x"},
    "api_keys.create": {"name": "k"},
    "device.pair.request": {"senderId": "phone", "channel": "telegram"},
    "browser.pairing.status": {"sender_id": "unknown"},
    "agent": {"agentId": "echo"},
    "agent.wait": {"agentId": "echo"},
    "agent.identity.get": {"agentId": "echo"},
    "logs.tail": {"action": "start"},
}


@pytest.fixture
def people(settings: Any) -> dict[str, Principal]:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    known = {}
    for name, (role, slug) in PEOPLE.items():
        account, _ = Account.objects.get_or_create(slug=slug, defaults={"name": slug.title()})
        user = User.objects.create_user(name)
        Membership.objects.create(user=user, account=account, role=role)
        known[name] = credentials.of_user(user=user)
    return known


@pytest.fixture
def things(people: dict[str, Principal]) -> dict[str, Any]:
    """What there is in alice's account: a session, a device, a pairing request, a key."""
    nodes.renew(node="here", host="here", pid=1, lease_s=60)
    account = Account.default()
    session = Session.objects.create(account=account, key=SESSION, owner="alice", agent="echo")
    for number in range(7):
        session.append(kind="user", author="alice", content=f"alices words {number}")
    device, waiting = (
        credentials.connect(credential=ConnectToken(user_id="alice", address=f"192.0.2.{number}"))
        for number in (1, 2)
    )
    assert isinstance(device, PendingPairing) and isinstance(waiting, PendingPairing)
    pairing.approve(principal=people["boss"], code=device.code)
    key = keys.create(principal=people["alice"], name="alices key").row.pk
    return {
        "device.pair.approve": waiting.code,
        "device.pair.deny": waiting.code,
        "device.pair.revoke": device.sender_id,
        "api_keys.revoke": key,
    }


def call(method: str, params: dict[str, Any], who: Principal) -> Any:
    """As a connection does it; the answer, or the refusal."""
    try:
        asked = build(handler_for(method, who), params, Caller("c1", "192.0.2.9"))
        if isinstance(asked, dict | Follow):
            return asked
        fields = {f.name: getattr(asked, f.name) for f in dataclasses.fields(asked)}
        node = {"node": "here"} if method == "chat.send" else {}
        return SERVICES[type(asked)](principal=who, **fields, **node)
    except GatewayError as error:
        return error


def expected(method: str, name: str) -> type[GatewayError] | None:
    """What the specification refuses."""
    order = ["viewer", "operator", "admin"]
    role, account = PEOPLE[name]
    if POLICY[method] != PUBLIC and order.index(role) < order.index(POLICY[method]):
        return RoleTooLow
    if method in OF_A_SESSION or method in OF_THE_ACCOUNT:
        if account == "other":
            return NotFound
        if method in OF_A_SESSION and role != "admin" and name != "alice":
            return NotOwner
    if method == "chat.send" and name == "bob":
        return NotOwner
    return None


@pytest.mark.parametrize("method", HANDLERS)
def test_everybody_gets_exactly_what_the_specification_gives(
    method: str, people: dict[str, Principal], things: dict[str, Any]
) -> None:
    params = OF_A_SESSION.get(method) or OTHERS.get(method, {})
    if method in OF_THE_ACCOUNT:
        params = {OF_THE_ACCOUNT[method][0]: things[method]}
    answers = {}
    for name, who in people.items():
        with transaction.atomic():  # each finds things as they were
            answers[name] = call(method, params, who)
            transaction.set_rollback(True)
    refusals = {
        name: type(answer) if isinstance(answer, GatewayError) else None
        for name, answer in answers.items()
    }
    assert refusals == {name: expected(method, name) for name in PEOPLE}
    told = json.dumps(answers["carol"], default=repr).replace(SESSION, "")  # as she named it
    assert "alice" not in told


@pytest.mark.parametrize("method", HANDLERS)
def test_nobody_is_answered_without_connecting(method: str) -> None:
    frame = Request(type="req", id="1", method=method, params={})
    with pytest.raises(NotConnected):
        GoclawProtocol(connection="c1").greet(frame)


def test_another_accounts_refusals_change_nothing(
    people: dict[str, Principal], things: dict[str, Any]
) -> None:
    for method, params in OF_A_SESSION.items():
        call(method, params, people["carol"])
    for method, (field,) in OF_THE_ACCOUNT.items():
        call(method, {field: things[method]}, people["carol"])
    session = Session.objects.get(account__slug="default")
    assert (session.events.count(), session.compactions, session.label) == (7, 0, "")
    assert ApiKey.objects.get().revoked_at is None
    assert len(pairing.list_(principal=people["boss"])["pending"]) == 1
    assert len(pairing.list_(principal=people["boss"])["paired"]) == 1
