"""What transcripts cannot say: the operations' fields, deadlines, the policy table."""

from __future__ import annotations

import json

import pytest

from realtime.core import operations as ops
from realtime.core.credentials import ConnectToken, PendingPairing
from realtime.core.effects import Authenticate, Call, Send, SendText, WaitFor
from realtime.core.errors import (
    InvalidParams,
    MalformedFrame,
    RateLimited,
    RoleTooLow,
    SlowConsumer,
    UnknownMethod,
)
from realtime.core.events import Event
from realtime.core.handshake import Handshake
from realtime.core.limits import Limits
from realtime.core.principal import ROLES, Principal
from realtime.protocols.goclaw import GoclawProtocol, frames, methods
from realtime.protocols.goclaw.methods import HANDLERS, POLICY, PUBLIC, handler_for

# PROTOCOLS.md 2.9, the methods marked E, with their roles; then the aliases and the tolerated ones.
ESSENTIAL = {
    "health": PUBLIC,
    "status": PUBLIC,
    "chat.send": "operator",
    "chat.history": "viewer",
    "chat.inject": "operator",
    "chat.abort": "operator",
    "chat.session.status": "viewer",
    "browser.pairing.status": PUBLIC,
    "device.pair.request": "operator",
    "device.pair.approve": "admin",
    "device.pair.deny": "admin",
    "device.pair.list": "admin",
    "device.pair.revoke": "admin",
    "sessions.list": "viewer",
    "sessions.preview": "viewer",
    "sessions.patch": "operator",
    "sessions.delete": "operator",
    "sessions.reset": "operator",
    "agents.list": "viewer",
}


def req(method, **params):
    return frames.Request(type="req", id="1", method=method, params=params)


@pytest.fixture
def stranger():
    protocol = GoclawProtocol(connection="c1", now=lambda: 1000.0)
    headers = {"authorization": "Bearer from-header"}
    protocol.handshake(Handshake(path="/ws", address="198.51.100.7", headers=headers))
    return protocol


@pytest.fixture
def alice(stranger):
    stranger.principal = Principal(id="alice", role="operator")
    return stranger


def operation(protocol, method, **params):
    (effect,) = protocol.receive(req(method, **params))
    assert isinstance(effect, Call)
    return effect.operation


@pytest.mark.parametrize(("method", "role"), ESSENTIAL.items())
def test_every_essential_method_has_a_handler_and_its_role(method, role):
    assert method in HANDLERS
    assert POLICY[method] == role


def test_every_handler_has_a_policy_row_and_every_row_a_handler():
    assert set(HANDLERS) == set(POLICY)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("method", HANDLERS)
def test_a_role_may_call_exactly_what_the_table_says(method, role):
    needed = POLICY[method]
    if needed == PUBLIC or ROLES.index(role) >= ROLES.index(needed):
        assert handler_for(method, Principal(id="x", role=role))
    else:
        with pytest.raises(RoleTooLow, match=f"{method} requires {needed} role"):
            handler_for(method, Principal(id="x", role=role))


def test_a_handler_without_a_policy_row_is_denied_to_owners_too(monkeypatch):
    monkeypatch.delitem(methods.POLICY, "health")
    with pytest.raises(RoleTooLow, match="health is not permitted for this session"):
        handler_for("health", Principal(id="root", role="owner"))


def test_a_policy_row_without_a_handler_is_unknown(monkeypatch):
    monkeypatch.setitem(methods.POLICY, "config.get", "viewer")
    with pytest.raises(UnknownMethod, match="unknown method: config.get"):
        handler_for("config.get", Principal(id="root", role="owner"))


def test_connect_shows_what_the_client_claims_and_where_it_is(stranger):
    _, effect = stranger.greet(req("connect", token="t", user_id="u", sender_id="s", tenant_id="x"))
    assert effect == Authenticate(
        ConnectToken(token="t", user_id="u", sender_id="s", tenant="x", address="198.51.100.7"), "1"
    )


def test_the_authorization_header_stands_in_for_an_empty_token(stranger):
    _, effect = stranger.greet(req("connect", token="", user_id="u"))
    assert effect.credential.token == "from-header"


def test_a_connect_with_wrong_types_is_told(stranger):
    with pytest.raises(InvalidParams, match="user_id"):
        stranger.greet(req("connect", user_id=7))


def test_a_failed_connect_leaves_a_minute_for_another(stranger):
    wait, _ = stranger.greet(req("connect", token="wrong"))
    assert wait == WaitFor(60.0)


def test_a_pending_socket_lives_until_its_request_ends(stranger):
    wait, _ = stranger.replied("1", PendingPairing(code="C", sender_id="s", expires_at=1600.0))
    assert wait == WaitFor(600.0)


def status_of(stranger, sender_id, status):
    stranger.greet(req("browser.pairing.status", sender_id=sender_id))
    return stranger.replied("1", {"status": status})[1:]


def test_when_its_request_has_ended_a_minute_is_left_once(stranger):
    stranger.replied("1", PendingPairing(code="C", sender_id="s", expires_at=1600.0))
    assert status_of(stranger, "s", "pending") == []
    assert status_of(stranger, "another", "expired") == [], "not its own request"
    assert status_of(stranger, "s", "expired") == [WaitFor(60.0)]
    assert status_of(stranger, "s", "expired") == [], "asking again gains nothing"


def test_a_failed_connect_does_not_cut_a_pending_socket_short(stranger):
    stranger.replied("1", PendingPairing(code="C", sender_id="s", expires_at=1600.0))
    wait, _ = stranger.greet(req("connect", token="wrong"))
    assert wait == WaitFor(600.0)


def test_null_is_as_good_as_absent(stranger):
    _, effect = stranger.greet(req("connect", user_id=None, sender_id=None, locale=None))
    assert effect.credential.user_id == ""


def test_send_passes_everything_on(alice):
    asked = operation(
        alice,
        "chat.send",
        message="hi",
        sessionKey="s",
        agentId="default",
        messageId="m",
        stream=True,
        media=["a", {"path": "b", "filename": "n"}],
    )
    assert asked == ops.SendChat(
        message="hi",
        session_key="s",
        agent_id="default",
        message_id="m",
        stream=True,
        media=({"path": "a"}, {"path": "b", "filename": "n"}),
        connection="c1",
    )


@pytest.mark.parametrize("spelling", ["sessionKey", "session_key"])
@pytest.mark.parametrize(
    ("method", "field"),
    [
        ("chat.history", "session_key"),
        ("chat.session.status", "session_key"),
        ("chat.abort", "session_key"),
        ("sessions.preview", "key"),
        ("sessions.delete", "key"),
        ("sessions.reset", "key"),
    ],
)
def test_both_spellings_of_the_session_key_are_read(alice, method, field, spelling):
    assert getattr(operation(alice, method, **{spelling: "s"}), field) == "s"


def test_both_spellings_of_the_agent_are_read(alice):
    assert operation(alice, "chat.send", message="x", agent_key="a").agent_id == "a"
    assert operation(alice, "sessions.list", agentId="a").agent_id == "a"


def test_sessions_list_has_the_defaults_of_the_specification(alice):
    assert operation(alice, "sessions.list") == ops.ListSessions(limit=20, offset=0)


def test_the_event_of_a_run_is_encoded_once_for_all_sockets():
    data = {"type": "chunk", "runId": "r", "sessionKey": "s", "payload": {"content": "x"}}
    event = Event("agent", data)
    (first,) = GoclawProtocol(connection="a").deliver(event)
    (second,) = GoclawProtocol(connection="b").deliver(event)
    assert isinstance(first, SendText)
    assert first.text is second.text


def test_the_askers_connection_is_not_told_to_anyone():
    data = {"type": "chunk", "runId": "r", "sessionKey": "s", "payload": {}, "_connection": "a"}
    (told,) = GoclawProtocol(connection="b").deliver(Event("agent", data))
    assert "_connection" not in json.loads(told.text)["payload"]


def test_a_limited_request_is_dropped_in_silence_by_default():
    assert GoclawProtocol().failed("1", RateLimited(retry_after_ms=200)) == []


def test_a_limited_request_is_told_when_the_deployment_says_so():
    protocol = GoclawProtocol(limits=Limits(tell_rate_limit=True))
    (told,) = protocol.failed("1", RateLimited(retry_after_ms=200))
    assert isinstance(told, Send)
    assert told.frame["error"] == {
        "code": "RESOURCE_EXHAUSTED",
        "message": "rate limit exceeded — please wait",
        "retryable": True,
        "retryAfterMs": 200,
    }


def test_a_slow_reader_is_closed_with_a_reason():
    (close,) = GoclawProtocol().failed("", SlowConsumer())
    assert (close.code, close.reason) == (4008, "reading too slowly")


@pytest.mark.parametrize("text", ["", "{", "nonsense", b"\xff"])
def test_what_is_not_json_is_a_malformed_frame(text):
    with pytest.raises(MalformedFrame, match="^invalid frame: "):
        GoclawProtocol().decode(text)


def test_a_binary_frame_is_read_like_text():
    text = '{"type":"req","id":"1","method":"health"}'
    assert GoclawProtocol().decode(text.encode()) == GoclawProtocol().decode(text)
