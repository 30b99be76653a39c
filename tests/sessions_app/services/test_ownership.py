"""One gate: every session service, called by everybody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from realtime.core.errors import GatewayError, NotFound, NotOwner
from realtime.core.principal import Principal
from sessions_app.models import Session
from sessions_app.services import chat, sessions
from sessions_app.services.ownership import find_owned, open_session, owned_session, owns_any

CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "chat.history": (chat.history, {"session_key": "KEY"}),
    "chat.inject": (chat.inject, {"session_key": "KEY", "message": "note"}),
    "chat.abort": (chat.abort, {"session_key": "KEY"}),
    "chat.session.status": (chat.status, {"session_key": "KEY"}),
    "chat.send": (chat.send, {"session_key": "KEY", "message": "hi", "node": "node-1"}),
    "sessions.preview": (sessions.preview, {"key": "KEY"}),
    "sessions.patch": (sessions.patch, {"key": "KEY", "label": "new"}),
    "sessions.delete": (sessions.delete, {"key": "KEY"}),
    "sessions.reset": (sessions.reset, {"key": "KEY"}),
}

OUTCOMES: dict[str, type[GatewayError] | None] = {
    "owner": None,
    "admin": None,
    "stranger": NotOwner,
    "other tenant's owner": NotFound,
    "other tenant's admin": NotFound,
}


def call(method: str, principal: Principal, key: str) -> Any:
    service, fields = CALLS[method]
    given = {name: key if value == "KEY" else value for name, value in fields.items()}
    return service(principal=principal, **given)


@pytest.mark.parametrize("who", OUTCOMES)
@pytest.mark.parametrize("method", CALLS)
def test_each_method_lets_in_the_owner_and_the_admin_only(
    method: str, who: str, people: dict[str, Principal], session: Session, node: str
) -> None:
    expected = OUTCOMES[who]
    if method == "chat.send" and expected is NotFound:
        # The key is free in the caller's own account: it makes a session there.
        call(method, people[who], "s")
        made = Session.objects.get(account__slug="other", key="s")
        assert made.owner == people[who].id
        assert made.messages(9)[0]["content"] == "hi"
    elif expected is None:
        call(method, people[who], "s")
        return
    else:
        with pytest.raises(expected) as refused:
            call(method, people[who], "s")
        wording = {
            NotOwner: "session does not belong to user",
            NotFound: "session not found: s",
        }
        assert str(refused.value) == wording[expected]
    session.refresh_from_db()
    assert (session.label, session.last_seq, session.events.count()) == ("", 2, 2)


@pytest.mark.parametrize("who", OUTCOMES)
@pytest.mark.parametrize("method", [name for name in CALLS if name != "chat.send"])
def test_an_unknown_session_is_not_found_for_anybody(
    method: str, who: str, people: dict[str, Principal], session: Session
) -> None:
    with pytest.raises(NotFound) as refused:
        call(method, people[who], "nowhere")
    assert str(refused.value) == "session not found: nowhere"
    assert Session.objects.count() == 1


def test_an_admins_access_to_a_foreign_session_is_logged(
    admin: Principal, alice: Principal, session: Session
) -> None:
    with capture_logs() as lines:
        owned_session(alice, "s")
        assert lines == []
        owned_session(admin, "s")
    assert [(line["event"], line["user"], line["session"]) for line in lines] == [
        ("session.admin_access", "root", "s")
    ]


def test_a_nameless_stranger_owns_nothing(session: Session) -> None:
    with pytest.raises(NotOwner):
        owned_session(Principal(id="", account="default", role="operator"), "s")


def test_nobody_has_a_free_key(alice: Principal) -> None:
    assert find_owned(alice, "free") is None


def test_a_key_that_a_parallel_request_took_is_judged_again(
    alice: Principal, bob: Principal, session: Session
) -> None:
    assert open_session(principal=alice, key="s", agent="echo") == session
    with pytest.raises(NotOwner):
        open_session(principal=bob, key="s", agent="echo")


def test_an_account_that_does_not_exist_gets_no_session(accounts: None) -> None:
    with pytest.raises(NotFound, match="account not found: nowhere"):
        open_session(principal=Principal(id="a", account="nowhere"), key="k", agent="echo")


def test_an_id_that_has_sessions_is_in_use_in_its_account_alone(session: Session) -> None:
    assert owns_any("default", "alice")
    assert not owns_any("default", "bob")
    assert not owns_any("other", "alice")
