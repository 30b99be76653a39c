"""The server's own word on a topic. Source: PROTOCOLS.md 5.3, 6; CONTRACT (HTTP, commands)."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from accounts.models import Account
from accounts.services import credentials, keys
from accounts.services import people as users
from realtime.core import addresses
from realtime.core.errors import (
    FrameTooLarge,
    InvalidParams,
    MalformedFrame,
    NotFound,
    RoleTooLow,
)
from sessions_app.services import topics

TELEMETRY = addresses.topic("nexus:default", "telemetry")


def test_everyone_with_the_role_speaks_on_the_topics_of_their_account(people, told):
    for who, principal in people.items():
        answer = topics.publish(principal=principal, channel="telemetry", data={"by": who})
        assert answer == {"channel": "telemetry", "published": True}
    heard = [(targets, event.data["data"]["by"]) for targets, event in told("nexus.broadcast")]
    others = [addresses.topic("nexus:other", "telemetry")]
    assert heard == [
        ([TELEMETRY], "owner"),
        ([TELEMETRY], "stranger"),
        ([TELEMETRY], "admin"),
        (others, "other tenant's owner"),
        (others, "other tenant's admin"),
    ]


@pytest.mark.parametrize("role", ["", "viewer"])
def test_whoever_may_only_look_does_not_publish(alice, told, role):
    with pytest.raises(RoleTooLow):
        topics.publish(principal=replace(alice, role=role), channel="telemetry", data=1)
    assert told() == []


@pytest.mark.parametrize("scope", ["operator.read", "operator.approvals", "operator.pairing"])
def test_a_key_without_the_scope_to_write_does_not_publish(alice, told, scope):
    with pytest.raises(RoleTooLow, match=r"operator\.write"):
        topics.publish(
            principal=replace(alice, scopes=frozenset({scope})), channel="telemetry", data=1
        )
    assert told() == []


@pytest.mark.parametrize("data", [None, 0, "", [], {"a": [1.5, True]}, "💙"])
def test_any_json_is_data(alice, told, data):
    topics.publish(principal=alice, channel="c", data=data)
    ((_, event),) = told()
    assert event.data["data"] == data and event.data["timestamp"].endswith("Z")


@pytest.mark.parametrize(
    ("channel", "data", "error"),
    [
        ("", 1, InvalidParams),
        ("x" * 257, 1, InvalidParams),
        ("agent.edge_1.commands", {"status": "completed"}, InvalidParams),
        ("a\x00b", 1, MalformedFrame),
        ("a\ud800", 1, MalformedFrame),
        ("c", {"a": "\x00"}, MalformedFrame),
        ("c", {"a": "\ud800"}, MalformedFrame),
        ("c", 2**60, MalformedFrame),
        ("c", float("nan"), MalformedFrame),
        ("c", "x" * 2**20, FrameTooLarge),
    ],
    ids=str,
)
def test_what_no_subscriber_could_be_told_is_refused(alice, told, channel, data, error):
    with pytest.raises(error):
        topics.publish(principal=alice, channel=channel, data=data)
    assert told() == []


def test_an_account_that_is_none_has_no_topics(alice):
    with pytest.raises(NotFound):
        topics.publish(principal=replace(alice, account="nowhere"), channel="c", data=1)


# --- the command ---


def test_the_command_publishes_in_the_account_it_names(accounts, told):
    for options, account in (([], "default"), (["--account", "other"], "other")):
        out = StringIO()
        call_command("publish", "c", '{"n":1}', "--json", *options, stdout=out)
        assert json.loads(out.getvalue()) == {"channel": "c", "published": True}
        targets, event = told()[-1]
        assert targets == [addresses.topic(f"nexus:{account}", "c")]
        assert event.data["data"] == {"n": 1}


@pytest.mark.parametrize(
    "arguments",
    [
        ("c", "{"),
        ("c", "[" * 5000),
        ("", "1"),
        ("c", "1", "--account", "nowhere"),
        ("agent.x", "1"),
    ],
    ids=lambda arguments: str(arguments)[:20],
)
def test_the_command_says_what_is_wrong(accounts, told, arguments):
    with pytest.raises(CommandError):
        call_command("publish", *arguments)
    assert told() == []


def test_a_token_for_topics_is_made_by_a_command(db):
    out = StringIO()
    call_command("issue_nexus_token", "usr_1", "--json", stdout=out)
    assert json.loads(out.getvalue()).keys() == {"token"}
    for wrong in (["--expires-in", "soon"], ["--role", "r" * 65]):
        with pytest.raises(CommandError):
            call_command("issue_nexus_token", "usr_1", *wrong)


# --- REST ---


def client_of(name: str, role: str, account: str = "default") -> APIClient:
    Account.default()
    member = users.create(username=name, password=None, role=role, account=account)
    who = credentials.of_user(user=member.user)
    key = keys.create(principal=who, name="k", user=member.user)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {key.text}")
    return client


def post(client: APIClient, channel: str, body: Any) -> Any:
    return client.post(f"/api/topics/{channel}/publish", body, format="json")


def test_a_post_is_accepted_for_the_callers_account_alone(db, told):
    for name, account in (("alice", "default"), ("carol", "other")):
        answer = post(client_of(name, "operator", account), "telemetry", {"data": {"by": name}})
        assert (answer.status_code, answer.json()) == (
            202,
            {"channel": "telemetry", "published": True},
        )
        assert told()[-1][0] == [addresses.topic(f"nexus:{account}", "telemetry")]


@pytest.mark.parametrize(
    ("channel", "name"), [("a%2Fb:c%20%F0%9F%92%99", "a/b:c 💙"), ("a/b", "a/b")]
)
def test_a_channel_in_a_path_is_any_text(db, told, channel, name):
    answer = post(client_of("alice", "operator"), channel, {"data": None})
    assert (answer.status_code, answer.json()["channel"]) == (202, name)
    assert told()[-1][1].data["channel"] == name


@pytest.mark.parametrize(
    ("channel", "body", "status"),
    [
        ("c", {}, 400),
        ("c", [1], 400),
        ("c", None, 400),
        ("agent.e.commands", {"data": 1}, 400),
        ("x" * 257, {"data": 1}, 400),
        ("c", {"data": "\x00"}, 400),
        ("c", {"data": "x" * 2**20}, 413),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_cannot_be_published_is_named(db, told, channel, body, status):
    answer = post(client_of("alice", "operator"), channel, body)
    assert answer.status_code == status and answer.json()["error"]["message"]
    assert told() == []


def test_a_viewer_and_a_stranger_to_us_publish_nothing(db, told):
    assert post(client_of("vera", "viewer"), "c", {"data": 1}).status_code == 403
    assert post(APIClient(), "c", {"data": 1}).status_code == 401
    assert told() == []
