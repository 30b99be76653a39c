"""What transcripts cannot say: the operations' fields, deadlines, the policy table."""

from __future__ import annotations

import json

import pytest

from realtime.core import operations as ops
from realtime.core.addresses import logs, nodes
from realtime.core.credentials import ConnectToken, PendingPairing
from realtime.core.effects import (
    Authenticate,
    Call,
    Join,
    Leave,
    Publish,
    Send,
    SendText,
    WaitFor,
)
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
    # 2.8: not essential, but served.
    "sessions.compact": "operator",
    "agent": "viewer",
    "agent.wait": "viewer",
    "agent.identity.get": "viewer",
    "api_keys.list": "admin",
    "api_keys.create": "admin",
    "api_keys.revoke": "admin",
    "logs.tail": "admin",
    "tenants.mine": "viewer",
}
# 2.4 (1b): the role that a key's scope gives at most.
ROLE_OF = {
    "operator.read": "viewer",
    "operator.write": "operator",
    "operator.approvals": "operator",
    "operator.pairing": "operator",
    "operator.admin": "admin",
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


@pytest.mark.parametrize("scope", ROLE_OF)
@pytest.mark.parametrize("method", HANDLERS)
def test_s11_a_scope_opens_what_it_is_there_for_and_nothing_else(method, scope):
    key = Principal(id="x", role=ROLE_OF[scope], scopes=frozenset({scope}))
    needed = POLICY[method]
    allowed = needed == PUBLIC or ROLES.index(key.role) >= ROLES.index(needed)
    if needed == "operator":
        acting = {"operator.write", "operator.admin"}
        if method == "device.pair.request":
            acting |= {"operator.pairing"}
        allowed = scope in acting
    if allowed:
        assert handler_for(method, key)
    else:
        with pytest.raises(RoleTooLow, match=f"permission denied: {method} requires "):
            handler_for(method, key)


def test_an_administrators_scope_on_an_operator_leaves_an_operator():
    key = Principal(id="x", role="operator", scopes=frozenset({"operator.admin"}))
    assert handler_for("chat.send", key)
    with pytest.raises(RoleTooLow):
        handler_for("api_keys.list", key)


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


# --- sessions.compact, agents, keys ---


def test_compact_keeps_four_unless_told(alice):
    assert operation(alice, "sessions.compact", key="s") == ops.CompactSession(key="s", keep_last=4)
    asked = operation(alice, "sessions.compact", session_key="s", keepLast=9)
    assert asked == ops.CompactSession(key="s", keep_last=9)
    with pytest.raises(InvalidParams, match="key is required"):
        alice.receive(req("sessions.compact"))
    with pytest.raises(InvalidParams, match="keepLast"):
        alice.receive(req("sessions.compact", key="s", keepLast="4"))


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("agent", ops.ReadAgent),
        ("agent.wait", ops.AwaitAgent),
        ("agent.identity.get", ops.IdentifyAgent),
    ],
)
def test_an_agent_is_named_in_both_spellings_or_left_open(alice, method, kind):
    assert operation(alice, method, agentId="echo") == kind(agent_id="echo")
    assert operation(alice, method, agent_key="echo") == kind(agent_id="echo")
    assert operation(alice, method) == kind(agent_id="")


@pytest.fixture
def boss(stranger):
    stranger.principal = Principal(id="boss", role="admin")
    return stranger


def test_a_key_is_made_of_the_fields_of_the_specification(boss):
    given = {"scopes": ["operator.read"], "expires_in": 60, "owner_id": "o", "tenant_id": "t"}
    assert operation(boss, "api_keys.create", name="ci", **given) == ops.CreateKey(
        name="ci", key_scopes=("operator.read",), expires_in=60, owner_id="o", tenant_id="t"
    )
    assert operation(boss, "api_keys.create", name="ci") == ops.CreateKey(name="ci")
    with pytest.raises(InvalidParams, match="name is required"):
        boss.receive(req("api_keys.create"))
    with pytest.raises(InvalidParams, match="expires_in"):
        boss.receive(req("api_keys.create", name="ci", expires_in="30d"))


@pytest.mark.parametrize("key_id", [7, "7", " 7 "])
def test_a_key_is_named_by_number_or_text(boss, key_id):
    assert operation(boss, "api_keys.revoke", id=key_id) == ops.RevokeKey(key_id="7")


def test_a_key_must_be_named(boss):
    with pytest.raises(InvalidParams, match="id is required"):
        boss.receive(req("api_keys.revoke"))


# --- logs.tail ---


def log_line(level="info"):
    return Event("log", {"time": "2026-11-21T12:00:00Z", "level": level, "event": "x"})


def published(effects):
    return [
        (effect.addresses, effect.event.name, effect.event.data)
        for effect in effects
        if isinstance(effect, Publish)
    ]


@pytest.mark.parametrize(
    ("principal", "accounts"),
    [
        (Principal(id="boss", role="admin"), ["default", ""]),
        (Principal(id="carol", role="admin", account="other"), ["other"]),
        (Principal(id="root", role="owner", account="other", is_superuser=True), ["other", ""]),
    ],
    ids=["master scope", "another account", "superuser"],
)
def test_the_log_is_followed_where_the_caller_may_look(stranger, principal, accounts):
    stranger.principal = principal
    effects = stranger.receive(req("logs.tail", action="start"))
    joined = [effect.address for effect in effects if isinstance(effect, Join)]
    assert joined == [logs(account) for account in accounts]
    wish = {"connection": "c1", "accounts": accounts, "level": "info"}
    assert published(effects) == [([nodes()], "log.follow", wish)]
    assert effects[-1] == Send(frames.response("1", {"ok": True}))
    effects = stranger.receive(req("logs.tail", action="stop"))
    left = [effect.address for effect in effects if isinstance(effect, Leave)]
    assert left == joined
    assert published(effects) == [([nodes()], "log.unfollow", {"connection": "c1"})]
    assert stranger.deliver(log_line()) == []


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (None, ["info", "warning", "error", "critical"]),
        ("debug", ["debug", "info", "warning", "error", "critical"]),
        ("warn", ["warning", "error", "critical"]),
        ("WARNING", ["warning", "error", "critical"]),
        ("error", ["error", "critical"]),
        ("critical", ["critical"]),
    ],
)
def test_a_line_is_told_from_its_level_on(boss, asked, told):
    boss.receive(req("logs.tail", action="start", level=asked))
    levels = ["debug", "info", "warning", "error", "critical"]
    assert [level for level in levels if boss.deliver(log_line(level))] == told


def test_starting_again_changes_the_level(boss):
    boss.receive(req("logs.tail", action="start", level="error"))
    assert boss.deliver(log_line()) == []
    boss.receive(req("logs.tail", action="start"))
    (told,) = boss.deliver(log_line())
    assert json.loads(told.text) == {
        "type": "event",
        "event": "log",
        "payload": {"time": "2026-11-21T12:00:00Z", "level": "info", "event": "x"},
    }


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({}, "^action takes one of start, stop$"),
        ({"action": "begin"}, "^action takes one of start, stop$"),
        (
            {"action": "start", "level": "loud"},
            "^level takes one of debug, info, warning, error, critical$",
        ),
    ],
)
def test_what_the_tail_does_not_know_is_refused_by_name(boss, params, complaint):
    with pytest.raises(InvalidParams, match=complaint):
        boss.receive(req("logs.tail", **params))


@pytest.mark.parametrize(
    "later",
    [
        Principal(id="boss", role="operator"),
        Principal(id="boss", role="admin", account="other"),
    ],
    ids=["a lower role", "another account"],
)
def test_a_new_identity_ends_the_tail(boss, later):
    boss.receive(req("logs.tail", action="start"))
    boss.principal = later
    effects = boss.opened("2")
    assert published(effects) == [([nodes()], "log.unfollow", {"connection": "c1"})]
    assert not [e for e in effects if isinstance(e, Join) and e.address.key == "logs"]
    assert boss.deliver(log_line("error")) == []


def test_who_follows_nothing_has_nothing_to_end(boss):
    assert published(boss.opened("2")) == []
    assert boss.deliver(log_line("error")) == []


def test_a_line_is_encoded_once_for_all_followers():
    line = log_line()
    told = []
    for connection in ("a", "b"):
        follower = GoclawProtocol(connection=connection)
        follower.principal = Principal(id="boss", role="admin")
        follower.receive(req("logs.tail", action="start"))
        told += follower.deliver(line)
    assert told[0].text is told[1].text
