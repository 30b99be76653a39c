"""What transcripts cannot say of 003: credentials, hostile frames, the rate, one rendering."""

from __future__ import annotations

import json

import pytest

from realtime.core import addresses, events
from realtime.core import group_messages as messages
from realtime.core.credentials import GroupTicket
from realtime.core.effects import Join, Record, Recover, Send, SendText, Touch
from realtime.core.errors import BadCredentials, MalformedFrame, RateLimited, RoleTooLow
from realtime.core.events import Event
from realtime.core.handshake import Handshake
from realtime.core.history import Position
from realtime.core.limits import Limits
from realtime.core.principal import Principal
from realtime.protocols.aether import AetherProtocol

KEY = "gwk_1234abcd_" + "x" * 43
IDS = {"group_id": "g", "client_id": "c"}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def opened(principal=None, query=None, **options):
    protocol = AetherProtocol(**options)
    protocol.handshake(Handshake(path="", parameters=IDS, query=query or {}))
    protocol.principal = principal or Principal(id="alice", account="acme", role="operator")
    protocol.opened("")
    return protocol


@pytest.fixture
def aether():
    return opened()


def shows(query=None, headers=None):
    request = Handshake(
        path="", parameters=IDS, query=query or {}, headers=headers or {}, address="10.0.0.1"
    )
    return AetherProtocol().handshake(request)


def faults(protocol, error):
    (effect,) = protocol.failed("", error)
    return effect.frame["payload"]["errors"]


# --- credentials ---


@pytest.mark.parametrize(
    ("query", "headers", "ticket"),
    [
        ({}, {}, {}),
        ({"api_key": "", "jwt": "", "x_account_id": ""}, {}, {}),
        (
            {"api_key": "k", "jwt": "j", "x_account_id": "a"},
            {},
            {"api_key": "k", "jwt": "j", "account": "a"},
        ),
        (
            {"api_key": "", "jwt": "j"},
            {"x-api-key": "k", "x-account-id": "a"},
            {"api_key": "k", "jwt": "j", "account": "a"},
        ),
        ({}, {"authorization": "Bearer j"}, {"jwt": "j"}),
        ({}, {"authorization": f"bearer {KEY}"}, {"api_key": KEY}),
        ({"jwt": "j"}, {"authorization": f"Bearer {KEY}"}, {"api_key": KEY, "jwt": "j"}),
        ({"jwt": "j"}, {"authorization": "Bearer j"}, {"jwt": "j"}),
        ({}, {"authorization": "Basic j"}, {}),
    ],
)
def test_credentials_come_by_query_or_by_header(query, headers, ticket):
    assert shows(query, headers) == GroupTicket(**ticket, address="10.0.0.1")


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ({"api_key": "k"}, {"x-api-key": "other"}),
        ({"api_key": "k"}, {"authorization": f"Bearer {KEY}"}),
        ({"jwt": "j"}, {"authorization": "Bearer other"}),
        ({"x_account_id": "a"}, {"x-account-id": "b"}),
    ],
)
def test_two_that_differ_are_refused(query, headers):
    with pytest.raises(BadCredentials, match="twice"):
        shows(query, headers)


def test_neither_key_nor_token_is_shown_when_a_ticket_is_printed():
    shown = repr(shows({"api_key": "s3cret", "jwt": "s3cret"}))
    assert "s3cret" not in shown


# --- what cannot be routed ---


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("nonsense", None),
        ("", None),
        ("[" * 1000, None),
        ('{"msg_type":"msg","target":"group","payload":{"a":9007199254740993}}', None),
        ('{"msg_type":"msg","target":"group","msg":"\\u0000"}', None),
        ("[]", None),
        ("null", None),
        ('"hi"', None),
        ("{}", "msg_type"),
        ('{"msg":"hi"}', "msg_type"),
        ('{"message":"hi","user":"x"}', "msg_type"),
        ('{"target":"group"}', "msg_type"),
        ('{"msg_type":"msg"}', "target"),
        ('{"msg_type":"shout","target":"group"}', "msg_type"),
        ('{"msg_type":null,"target":"group"}', "msg_type"),
        ('{"msg_type":"msg","target":"Group"}', "target"),
        ('{"msg_type":"msg","target":["group"]}', "target"),
        ('{"msg_type":"msg","target":"group","payload":"text"}', "payload"),
        ('{"msg_type":"msg","target":"group","payload":[1]}', "payload"),
        ('{"msg_type":"msg","target":"group","payload":null}', "payload"),
        ('{"msg_type":"msg","target":"group","msg":7}', "msg"),
        ('{"msg_type":"msg","target":"group","cmd":{}}', "cmd"),
        ('{"msg_type":"msg","target":"group","to_id":7}', "to_id"),
        ('{"msg_type":"msg","target":"direct"}', "to_id"),
        ('{"msg_type":"msg","target":"direct","to_id":null}', "to_id"),
        ('{"msg_type":"msg","target":"direct","to_id":""}', "to_id"),
        (json.dumps({"msg_type": "msg", "target": "direct", "to_id": "x" * 129}), "to_id"),
    ],
)
def test_what_cannot_be_read_is_not_routed_and_the_field_is_named(aether, text, field):
    with pytest.raises(MalformedFrame) as refused:
        aether.decode(text)
    first = faults(aether, refused.value)[0]
    assert first["code"] == "INVALID_REQUEST"
    assert first["message"]
    assert first.get("field") == field


@pytest.mark.parametrize(
    ("said", "takes"),
    [
        ({"target": "shout"}, "target takes one of direct, group, broadcast, echo (required)"),
        ({"msg_type": 7}, "msg_type takes one of msg, cmd, heartbeat, presence (required)"),
        ({"payload": []}, "payload takes an object"),
        ({"msg": {}}, "msg takes a text"),
    ],
)
def test_what_a_field_takes_is_said(aether, said, takes):
    text = json.dumps({"msg_type": "msg", "target": "group"} | said)
    with pytest.raises(MalformedFrame) as refused:
        aether.decode(text)
    assert str(refused.value) == f"message not routed: {takes}"
    assert faults(aether, refused.value)[0]["message"] == takes


def test_a_message_of_v2_is_told_what_to_wrap(aether):
    with pytest.raises(MalformedFrame, match=r'wrap it as \{"msg_type":"msg","target":"group"'):
        aether.decode('{"msg":"hi"}')


def test_a_binary_frame_is_answered_and_not_decoded(aether):
    with pytest.raises(MalformedFrame, match="binary"):
        aether.decode(b'{"msg_type":"msg","target":"echo"}')


# --- routing ---


def test_every_field_that_a_client_may_not_set_is_overwritten_wherever_it_says_it(aether):
    spoofed = {
        "version": "9",
        "from_id": "root",
        "group_id": "other",
        "sent_at": "2001-01-01T00:00:00Z",
        "account": "other",
        "realm": "aether",
    }
    for target in ("group", "direct", "broadcast"):
        said = {**spoofed, "msg_type": "msg", "target": target, "to_id": "d"}
        (effect,) = aether.receive(aether.decode(json.dumps(said)))
        message = effect.event.data["message"]
        assert (message["version"], message["from_id"], message["group_id"]) == ("3", "c", "g")
        assert not message["sent_at"].startswith("2001")
        assert set(message) == {
            "version",
            "msg_type",
            "target",
            "from_id",
            "to_id",
            "group_id",
            "cmd",
            "msg",
            "payload",
            "sent_at",
        }
        places = [effect.address] if target == "group" else effect.addresses
        assert [address.realm for address in places] == ["aether:acme"]


@pytest.mark.parametrize(
    ("role", "superuser", "realm"),
    [
        ("viewer", False, None),
        ("", False, None),
        ("operator", False, "aether:acme"),
        ("admin", False, "aether:acme"),
        ("owner", True, "aether"),
    ],
)
def test_a_broadcast_needs_an_operator_and_leaves_the_account_for_superusers_only(
    role, superuser, realm
):
    who = Principal(id="x", account="acme", role=role, is_superuser=superuser)
    aether = opened(who)
    said = aether.decode('{"msg_type":"msg","target":"broadcast"}')
    if realm is None:
        with pytest.raises(RoleTooLow):
            aether.receive(said)
    else:
        (effect,) = aether.receive(said)
        assert effect.addresses == [addresses.everyone(realm)]


def test_a_heartbeat_touches_and_then_goes_where_it_says(aether):
    touched, echoed = aether.receive(aether.decode('{"msg_type":"heartbeat","target":"echo"}'))
    assert touched == Touch()
    assert isinstance(echoed, Send)
    touched, routed = aether.receive(aether.decode('{"msg_type":"heartbeat","target":"group"}'))
    assert touched == Touch()
    assert isinstance(routed, Record)


def test_a_message_is_rendered_once_for_all_its_receivers(aether):
    (effect,) = aether.receive(aether.decode('{"msg_type":"msg","target":"group","msg":"ü 💙"}'))
    texts = [opened().deliver(effect.event)[0] for _ in range(3)]
    assert all(isinstance(text, SendText) for text in texts)
    assert len({id(text.text) for text in texts}) == 1
    assert json.loads(texts[0].text)["msg"] == "ü 💙"


# --- the rate ---


def test_over_the_rate_every_message_is_answered_with_an_error_and_time_helps():
    clock = Clock()
    aether = opened(limits=Limits(messages_per_s=3), now=clock)
    for text in ('{"msg_type":"heartbeat","target":"echo"}', "nonsense", '{"msg":"v2"}'):
        try:
            aether.decode(text)
        except MalformedFrame:
            continue
    for _ in range(2):
        with pytest.raises(RateLimited, match="3 messages a second") as refused:
            aether.decode('{"msg_type":"msg","target":"echo"}')
        (fault,) = faults(aether, refused.value)
        assert fault["code"] == "RESOURCE_EXHAUSTED"
        assert fault["retry_after_ms"] == 333
    clock.now += 0.34
    assert aether.decode('{"msg_type":"msg","target":"echo"}')
    with pytest.raises(RateLimited):
        aether.decode('{"msg_type":"msg","target":"echo"}')


def test_without_a_limit_nothing_is_counted_and_the_gateways_own_does_not_apply(aether):
    said = aether.decode('{"msg_type":"msg","target":"echo"}')
    assert not aether.counts(said)
    for _ in range(1000):
        aether.decode('{"msg_type":"msg","target":"echo"}')


def test_events_of_others_are_passed_over(aether):
    assert aether.deliver(Event("chat.message", {"message": {"from_id": "x"}})) == []


# --- recovery: what transcripts cannot say ---


@pytest.mark.parametrize(
    ("query", "since"),
    [
        ({"since_epoch": "", "since_offset": ""}, None),
        ({"since_epoch": ""}, None),
        ({"since_epoch": "e", "since_offset": "0"}, Position("e", 0)),
        ({"since_epoch": "e", "since_offset": "9007199254740992"}, Position("e", 2**53)),
    ],
)
def test_who_asks_by_the_query_recovers_the_group_and_joins_the_rest(query, since):
    protocol = AetherProtocol()
    protocol.handshake(Handshake(path="", parameters=IDS, query=query))
    protocol.principal = Principal(id="alice", account="acme")
    kinds = [type(effect) for effect in protocol.opened("")]
    assert kinds == [Join, Recover, Join, Join]
    assert protocol.opened("")[1] == Recover(addresses.group("aether:acme", "g"), since)


@pytest.mark.parametrize(
    "query",
    [
        {"since_epoch": "e"},
        {"since_offset": "1"},
        {"since_epoch": "e", "since_offset": ""},
        {"since_epoch": "e", "since_offset": "-1"},
        {"since_epoch": "e", "since_offset": "1.0"},
        {"since_epoch": "e", "since_offset": "²"},
        {"since_epoch": "e", "since_offset": "9" * 5000},
        {"since_epoch": "e", "since_offset": "9007199254740993"},
        {"since_epoch": "e" * 65, "since_offset": "1"},
    ],
)
def test_half_a_place_and_what_is_none_are_refused(query):
    with pytest.raises(MalformedFrame, match="since_epoch and since_offset"):
        shows(query)


def test_a_message_is_rendered_once_more_for_all_who_asked_for_numbers(aether):
    said = Event(messages.MESSAGE, {"message": {"msg": "hi"}}, position=Position("e", 1))
    followers = [opened(query={"since_epoch": "e", "since_offset": "0"}) for _ in range(3)]
    texts = [peer.deliver(said)[0].text for peer in [*followers, aether, aether]]
    assert texts == ['{"msg":"hi","epoch":"e","offset":1}'] * 3 + ['{"msg":"hi"}'] * 2
    assert len(said.texts) == 2


def test_without_a_question_a_resync_says_nothing_and_numbers_change_nothing(aether):
    assert aether.deliver(Event(events.RESYNC, {"reason": "bus"})) == []
    for offset in (1, 7, 1):
        said = Event(messages.MESSAGE, {"message": {}}, position=Position("e", offset))
        assert aether.deliver(said) == [SendText("{}")]
    assert aether.resume() == []


@pytest.mark.parametrize("target", ["group", "direct", "broadcast"])
def test_a_key_that_only_reads_sends_to_nobody_but_itself(target):
    reader = Principal(
        id="alice", account="acme", role="viewer", scopes=frozenset({"operator.read"})
    )
    aether = opened(reader)
    said = json.dumps({"msg_type": "heartbeat", "target": target, "to_id": "d"})
    with pytest.raises(RoleTooLow, match="only reads"):
        aether.receive(aether.decode(said))
    echoed = aether.receive(aether.decode(said.replace(target, "echo")))
    assert [type(effect) for effect in echoed] == [Touch, Send]
