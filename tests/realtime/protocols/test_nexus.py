"""What transcripts cannot say of topics: exact texts, filters, bounds, who may."""

from __future__ import annotations

import json
import time

import pytest

from realtime.core import addresses, events, topics
from realtime.core.effects import Join, Leave, Record, Recover, Resume, Send, SendText, Touch
from realtime.core.errors import InvalidParams, MalformedFrame, MissingCredentials, RoleTooLow
from realtime.core.events import Event
from realtime.core.handshake import Handshake
from realtime.core.history import Position, Recovered
from realtime.core.principal import Principal
from realtime.protocols import nexus
from realtime.protocols.nexus import NexusProtocol

NOON = 1762134869.0004
TELEMETRY = addresses.topic("nexus:default", "telemetry")


def a_peer(**fields):
    protocol = NexusProtocol(connection="c1", now=lambda: NOON)
    protocol.principal = Principal(
        **{"id": "nexus:usr_123", "role": "viewer", "via": "nexus"} | fields
    )
    return protocol


@pytest.fixture
def peer():
    return a_peer()


def say(peer, **frame):
    """The effects of a frame, and the texts of what is said."""
    effects = peer.receive(peer.decode(json.dumps(frame)))
    return [peer.encode(e.frame) if isinstance(e, Send) else e for e in effects]


def hears(peer, data, channel="telemetry"):
    """How often the peer is told of a message with this data."""
    return len(peer.deliver(message(data, channel)))


def message(data, channel="telemetry"):
    return Event(topics.MESSAGE, {"channel": channel, "from": "u", "data": data, "timestamp": "t"})


# --- to the letter ---


def test_every_frame_has_its_keys_in_the_order_of_the_specification(peer):
    (welcome,) = peer.opened("")
    assert peer.encode(welcome.frame) == (
        '{"type":"connected","message":"Welcome to Nexus WebSocket","userId":"usr_123"}'
    )
    assert say(peer, action="subscribe", channel="telemetry", filters={"b": 1, "a": 2})[1] == (
        '{"type":"subscribed","channel":"telemetry","filters":{"b":1,"a":2}}'
    )
    assert say(peer, action="ping")[1] == '{"type":"pong","timestamp":1762134869000}'
    (published,) = say(peer, action="publish", channel="telemetry", payload={"a": 2, "b": 1})
    (told,) = peer.deliver(published.event)
    assert told.text == (
        '{"type":"message","channel":"telemetry","from":"usr_123","data":{"a":2,"b":1},'
        '"timestamp":"2025-11-03T01:54:29.000Z"}'
    )


def test_without_a_clock_of_its_own_a_pong_is_in_whole_milliseconds():
    peer = NexusProtocol()
    effects = peer.receive(peer.decode('{"action":"ping"}'))
    assert effects[0] == Touch()
    stamp = effects[1].frame["timestamp"]
    assert type(stamp) is int and abs(stamp - time.time() * 1000) < 60_000


@pytest.mark.parametrize("filters", [None, False, 0, "", []])
def test_filters_that_are_none_are_answered_as_they_came(peer, filters):
    joined, told = say(peer, action="subscribe", channel="telemetry", filters=filters)
    assert joined == Join(TELEMETRY)
    assert json.loads(told) == {"type": "subscribed", "channel": "telemetry", "filters": filters}
    assert hears(peer, 7) == 1


@pytest.mark.parametrize(
    "text",
    ["", "{", "{'action':'ping'}", '{"action":"ping"}x', "NaN", b"\xff", '"\\ud800"', "[" * 5000],
)
def test_what_is_no_json_is_said_to_be_none(peer, text):
    with pytest.raises(MalformedFrame, match=r"^Invalid JSON format$"):
        peer.decode(text)


@pytest.mark.parametrize("payload", ["[" * 40 + "]" * 40, '"\\u0000"', "9007199254740993"])
def test_json_that_a_later_stage_could_not_carry_is_named(peer, payload):
    with pytest.raises(MalformedFrame, match="^invalid frame: "):
        peer.decode(f'{{"action":"publish","channel":"c","payload":{payload}}}')


def test_an_unknown_action_is_quoted_up_to_a_point(peer):
    with pytest.raises(Exception, match=r"^Unknown action: x{256}$"):
        peer.decode(json.dumps({"action": "x" * 5000}))


@pytest.mark.parametrize("query", [{}, {"token": ""}])
def test_a_handshake_without_a_token_shows_nothing(peer, query):
    with pytest.raises(MissingCredentials):
        peer.handshake(Handshake(path="/nexus/ws", query=query))


def test_a_token_is_not_shown_in_a_repr(peer):
    request = Handshake(path="/ws", query={"token": "the-secret"}, address="192.0.2.1")
    credential = peer.handshake(request)
    assert (credential.guess, credential.address) == ("the-secret", "192.0.2.1")
    assert "the-secret" not in repr(credential) + repr(request)


# --- filters ---


def test_several_subscriptions_are_a_union_and_each_message_comes_once(peer):
    for value in (1, 2, 1):
        say(peer, action="subscribe", channel="telemetry", filters={"a": value})
    say(peer, action="subscribe", channel="telemetry", filters={"b": 1})
    assert [hears(peer, data) for data in ({"a": 1, "b": 1}, {"a": 2}, {"a": 3})] == [1, 1, 0]
    say(peer, action="subscribe", channel="telemetry", filters={})
    assert hears(peer, {"a": 3}) == 1
    say(peer, action="subscribe", channel="telemetry", filters={"a": 1})
    assert hears(peer, {"a": 3}) == 1, "a filter takes nothing away from what was subscribed whole"


def test_a_channel_is_joined_once_and_left_once(peer):
    joins = [say(peer, action="subscribe", channel="telemetry", filters=f)[0] for f in ({}, {})]
    assert joins[0] == Join(TELEMETRY) and not isinstance(joins[1], Join)
    say(peer, action="subscribe", channel="telemetry", filters={"a": 1})
    assert say(peer, action="unsubscribe", channel="telemetry")[0] == Leave(TELEMETRY)
    assert len(say(peer, action="unsubscribe", channel="telemetry")) == 1
    assert hears(peer, {"a": 1}) == 0


def test_unsubscribing_removes_no_channel_whose_name_only_begins_alike(peer):
    for channel in ("a", "a:b"):
        say(peer, action="subscribe", channel=channel)
    say(peer, action="unsubscribe", channel="a")
    assert (hears(peer, 1, "a"), hears(peer, 1, "a:b")) == (0, 1)


def test_equal_filters_judge_a_message_once_and_it_is_encoded_once(monkeypatch):
    judged, encoded = [], []
    judge, frame = nexus.Filter._judge, nexus._frame
    monkeypatch.setattr(nexus.Filter, "_judge", lambda *a: judged.append(1) or judge(*a))
    monkeypatch.setattr(nexus, "_frame", lambda event: encoded.append(1) or frame(event))
    members = [a_peer() for _ in range(50)]
    for number, member in enumerate(members):
        filters = {"a": 1, "b": 2} if number % 2 else {"b": 2, "a": 1}
        say(member, action="subscribe", channel="telemetry", filters=filters)
    event = message({"a": 1, "b": 2})
    texts = [effect.text for member in members for effect in member.deliver(event)]
    assert len(texts) == 50 and len({id(text) for text in texts}) == 1
    assert (len(judged), len(encoded)) == (1, 1)


def test_what_is_said_to_the_connection_by_other_ways_is_no_message(peer):
    for name in (events.RESYNC, events.NOTICE, events.DRAIN, events.CHANGED, "agent"):
        assert peer.deliver(Event(name, {"text": "x", "by": "y"})) == []


# --- bounds ---


def test_channels_and_filters_of_a_connection_are_bounded(peer, monkeypatch):
    monkeypatch.setattr(nexus, "MAX_CHANNELS", 3)
    monkeypatch.setattr(nexus, "MAX_FILTERS", 4)
    for number in range(3):
        say(peer, action="subscribe", channel=f"c{number}")
    with pytest.raises(InvalidParams, match="at most 3 channels"):
        say(peer, action="subscribe", channel="c3")
    say(peer, action="subscribe", channel="c0")
    for channel in ("c0", "c1"):
        say(peer, action="unsubscribe", channel=channel)
    for number in range(4):
        say(peer, action="subscribe", channel=f"c{number % 2}", filters={"a": number})
    with pytest.raises(InvalidParams, match="at most 4 different filters"):
        say(peer, action="subscribe", channel="c0", filters={"a": 7})
    assert hears(peer, {"a": 7}, "c0") == 0
    say(peer, action="subscribe", channel="c0", filters={"a": 0})
    say(peer, action="subscribe", channel="c0")
    say(peer, action="subscribe", channel="c1", filters={"a": 7})
    assert hears(peer, {"a": 7}, "c1") == 1


def test_a_new_channel_that_is_refused_for_its_filter_is_not_subscribed(peer, monkeypatch):
    monkeypatch.setattr(nexus, "MAX_FILTERS", 0)
    with pytest.raises(InvalidParams):
        say(peer, action="subscribe", channel="telemetry", filters={"a": 1})
    assert hears(peer, {"a": 1}) == 0
    assert say(peer, action="subscribe", channel="telemetry")[0] == Join(TELEMETRY)


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"a": "x" * 4096}, "filters takes up to 4096 bytes"),
        ([1], "filters takes an object"),
        ("a", "filters takes an object"),
        (True, "filters takes an object"),
    ],
)
def test_a_filter_that_cannot_be_one_is_refused(peer, filters, words):
    with pytest.raises(InvalidParams, match=words):
        say(peer, action="subscribe", channel="telemetry", filters=filters)


@pytest.mark.parametrize("channel", ["a:b", "- _ . : @ % /", "täl 💙", "x" * 256, "agents"])
def test_any_text_is_a_channel(peer, channel):
    assert say(peer, action="subscribe", channel=channel)[0].address.key == channel


@pytest.mark.parametrize("channel", ["x" * 257, 7, ["a"], {"a": 1}, True])
def test_what_is_no_name_is_no_channel(peer, channel):
    with pytest.raises(InvalidParams, match="channel takes a text of up to 256 characters"):
        say(peer, action="subscribe", channel=channel)


@pytest.mark.parametrize("action", ["ping", "publish", "subscribe", "unsubscribe"])
def test_the_rate_limit_of_001_counts_nothing_here(peer, action):
    assert not peer.counts(peer.decode(json.dumps({"action": action, "channel": "c"})))


# --- who may ---


@pytest.mark.parametrize(
    ("role", "may"), [("", False), ("viewer", False), ("operator", True), ("admin", True)]
)
def test_the_topics_of_agents_are_for_operators(role, may):
    peer = a_peer(role=role)
    if may:
        assert say(peer, action="subscribe", channel="agent.e.commands")
    else:
        with pytest.raises(RoleTooLow):
            say(peer, action="subscribe", channel="agent.e.commands")
    updated = Event("command.updated", {"agent_id": "e", "command_id": "m", "at": "t"})
    assert len(peer.deliver(updated)) == int(may)


@pytest.mark.parametrize("role", ["viewer", "operator", "owner"])
def test_nobody_publishes_on_the_topics_of_agents(role):
    with pytest.raises(InvalidParams, match="take no publishing"):
        say(a_peer(role=role), action="publish", channel="agent.e.commands", payload={})


def test_what_an_agents_person_is_told_is_passed_on():
    peer = a_peer(role="operator")
    say(peer, action="subscribe", channel="agent.e.messages")
    event = Event("edge.message", {"agent_id": "e", "message": {"text": "hi"}, "at": "t"})
    (told,) = peer.deliver(event)
    frame = json.loads(told.text)
    assert isinstance(told, SendText) and frame["type"] == "broadcast"
    said = {"agent_id": "e", "message": {"text": "hi"}, "at": "t"}
    assert frame["data"] == {"event": "edge.message", **said}


@pytest.mark.parametrize(
    ("scopes", "may"),
    [(set(), True), ({"operator.read"}, False), ({"operator.read", "operator.write"}, True)],
)
def test_whoever_only_reads_does_not_publish(scopes, may):
    peer = a_peer(scopes=frozenset(scopes))
    assert say(peer, action="subscribe", channel="c")
    if may:
        (published,) = say(peer, action="publish", channel="c", payload=1)
        assert isinstance(published, Record)
    else:
        with pytest.raises(RoleTooLow, match="observers do not publish"):
            say(peer, action="publish", channel="c", payload=1)


def test_a_person_of_ours_is_called_by_name_whatever_it_begins_with():
    assert a_peer(id="nexus:bob", via="jwt").opened("")[0].frame["userId"] == "nexus:bob"


def test_accounts_have_topics_of_their_own():
    one, two = a_peer(), a_peer(account="other")
    places = [say(peer, action="subscribe", channel="c")[0].address for peer in (one, two)]
    assert places[0] != places[1]
    (published,) = say(two, action="publish", channel="c", payload=1)
    assert published.address == places[1]


# --- recovery: what transcripts cannot say ---


def numbered(offset, data=1, epoch="e"):
    event = message(data)
    event.position = Position(epoch, offset)
    return event


def following(channel="telemetry", **fields):
    peer = a_peer()
    (recover,) = say(peer, action="subscribe", channel=channel, since=None, **fields)
    assert recover == Recover(TELEMETRY, None, channel)
    peer.replied(channel, Recovered((), Position("e", 0)))
    return peer


def test_without_since_not_a_byte_is_different(peer):
    say(peer, action="subscribe", channel="telemetry")
    (plain,) = peer.deliver(message(1))
    (with_number,) = peer.deliver(numbered(7))
    assert with_number == plain


def test_a_message_is_rendered_once_with_and_once_without_its_number(monkeypatch):
    made = []
    encode = nexus.wire.encode
    monkeypatch.setattr(nexus.wire, "encode", lambda frame: made.append(frame) or encode(frame))
    plain = a_peer()
    say(plain, action="subscribe", channel="telemetry")
    audience = [following() for _ in range(3)] + [plain] * 3
    made.clear()
    event = numbered(1)
    texts = [peer.deliver(event)[0].text for peer in audience]
    assert len(made) == 2
    assert texts == [texts[0]] * 3 + [texts[-1]] * 3
    assert texts[0] == texts[-1][:-1] + ',"offset":1}'


def test_a_bad_since_changes_nothing(peer):
    with pytest.raises(InvalidParams, match="since takes null"):
        say(peer, action="subscribe", channel="telemetry", since=[])
    assert hears(peer, 1) == 0
    (join, _) = say(peer, action="subscribe", channel="telemetry")
    assert join == Join(TELEMETRY)


def test_a_resync_concerns_only_who_asked_for_numbers(peer):
    resync = Event(events.RESYNC, {"reason": "bus"})
    say(peer, action="subscribe", channel="telemetry")
    assert peer.deliver(resync) == []
    asking = following()
    assert asking.deliver(resync) == [Resume()]
    assert asking.deliver(numbered(1)) == [Resume()], "the replay brings it"
    assert asking.resume() == [Recover(TELEMETRY, Position("e", 0), "telemetry")]
    assert asking.resume() == [], "once is enough"


def test_a_peer_that_asks_by_itself_meanwhile_is_not_recovered_twice():
    peer = following()
    peer.deliver(Event(events.RESYNC, {"reason": "bus"}))
    since = {"epoch": "e", "offset": 0}
    say(peer, action="subscribe", channel="telemetry", since=since)
    peer.replied("telemetry", Recovered([numbered(1)], Position("e", 1)))
    assert peer.resume() == []


def test_what_is_lost_while_it_recovers_is_recovered_as_well():
    peer = following()
    peer.deliver(Event(events.RESYNC, {"reason": "bus"}))
    peer.resume()
    peer.deliver(Event(events.RESYNC, {"reason": "bus"}))
    peer.replied("telemetry", Recovered([numbered(1)], Position("e", 1)))
    assert peer.deliver(numbered(2)) == [Resume()]
    assert peer.resume() == [Recover(TELEMETRY, Position("e", 1), "telemetry")]


def test_unsubscribed_is_forgotten():
    peer = following()
    say(peer, action="unsubscribe", channel="telemetry")
    assert peer.deliver(Event(events.RESYNC, {"reason": "bus"})) == []
    say(peer, action="subscribe", channel="telemetry")
    assert "offset" not in peer.deliver(numbered(5))[0].text
