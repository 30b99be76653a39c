"""Endpoints of models as agents: who may keep them, and that nobody sees a key again."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core import serializers

from realtime.core.errors import InvalidParams, NotFound, RoleTooLow
from realtime.core.principal import Principal
from sessions_app.agents import AgentFailed
from sessions_app.models import AgentEndpoint
from sessions_app.services import agent_choice, endpoints, overview
from sessions_app.services.sent import Sent
from tests.sessions_app.agents.asking import key_of

KEY = "sk-never-to-be-seen"
URL = "https://models.example/v1"


@pytest.fixture
def boss(admin: Principal) -> Principal:
    return replace(admin, is_superuser=True)


@pytest.fixture
def keep(boss: Principal) -> Callable[..., AgentEndpoint]:
    def keep(name: str = "fast", **fields: Any) -> AgentEndpoint:
        given = {"base_url": URL, "model": "small", "new": True, **fields}
        return endpoints.keep(**{"principal": boss, "name": name, **given})

    return keep


@pytest.fixture
def described(settings: Any) -> None:
    """The settings describe an endpoint."""
    settings.OPENAI_MODEL = "large"
    settings.OPENAI_BASE_URL = "http://127.0.0.1:9/v1"
    settings.OPENAI_API_KEY = "sk-of-the-settings"


# --- of the settings ---


def test_without_a_model_there_is_no_endpoint(db: None) -> None:
    assert not endpoints.exists("openai") and endpoints.known() == {}
    with pytest.raises(AgentFailed, match="^agent not found: openai$"):
        endpoints.agent("openai")


def test_the_settings_describe_one(db: None, described: None, settings: Any) -> None:
    assert endpoints.exists("openai") and not endpoints.exists("fast")
    agent = endpoints.agent("openai")
    assert (agent.name, agent.model, agent.provider) == ("openai", "large", "openai")
    assert key_of("openai") == "sk-of-the-settings"
    settings.DEFAULT_AGENT = "openai"
    assert agent_choice.resolve("default") == "openai"


def test_the_limits_are_those_of_the_settings(db: None, described: None, settings: Any) -> None:
    settings.OPENAI_BETWEEN_S, settings.OPENAI_ATTEMPTS = 7, 2
    limits = endpoints.agent("openai")._limits
    assert (limits.between_s, limits.attempts, limits.whole_s) == (7, 2, 600)


# --- of the admin ---


def test_an_endpoint_is_an_agent_of_every_account(
    keep: Any, people: dict[str, Principal], described: None
) -> None:
    keep(key=KEY)
    for principal in people.values():
        rows = overview.agents(principal=principal)["agents"]
        assert [(row["id"], row["model"], row["provider"]) for row in rows] == [
            ("echo", "echo", "builtin"),
            ("worker", "worker", "worker"),
            ("openai", "large", "openai"),
            ("fast", "small", "openai"),
        ]
        assert overview.agent(principal=principal, agent_id="fast")["id"] == "fast"
        assert KEY not in str(rows)


def test_a_session_may_have_any_of_them(keep: Any, say: Callable[..., Sent]) -> None:
    keep()
    sent = say("hello", session_key="agent:fast:ws:direct:1")
    assert (sent.agent, sent.agent_id) == ("fast", "fast")
    assert say("hello", agent_id="fast").agent == "fast"
    with pytest.raises(NotFound):
        say("hello", session_key="t", agent_id="slow")


def test_a_row_takes_the_place_of_the_settings_and_of_their_key(keep: Any, described: None) -> None:
    keep("openai")
    assert endpoints.agent("openai").model == "small"
    assert endpoints.known()["openai"].base_url == URL
    assert key_of("openai") == ""


def test_a_key_is_kept_encrypted_and_opened_for_its_agent(keep: Any) -> None:
    row = keep(key=KEY)
    assert key_of("fast") == KEY
    stored = serializers.serialize("json", AgentEndpoint.objects.all())
    assert KEY not in stored and row.sealed_key in stored
    assert KEY not in repr(endpoints.known()) + repr(vars(row))


def test_a_key_stays_until_another_one_is_given_or_it_is_forgotten(keep: Any) -> None:
    keep(key=KEY)
    keep(new=False, model="other")
    assert (endpoints.agent("fast").model, key_of("fast")) == ("other", KEY)
    keep(new=False, key="sk-next")
    assert key_of("fast") == "sk-next"
    keep(new=False, forget_key=True)
    assert key_of("fast") == ""


@pytest.mark.parametrize(
    "elsewhere",
    ["https://thief.example/v1", "http://models.example/v1", "https://models.example:444/v1"],
)
def test_a_key_goes_to_no_other_host_than_it_was_given_for(keep: Any, elsewhere: str) -> None:
    keep(key=KEY)
    with pytest.raises(InvalidParams, match="^key: .* for https://models.example:443 alone"):
        keep(new=False, base_url=elsewhere)
    keep(new=False, base_url="https://models.example:443/v2")
    assert key_of("fast") == KEY
    AgentEndpoint.objects.update(base_url=elsewhere)
    with pytest.raises(AgentFailed, match="is for another host"):
        endpoints.agent("fast")
    AgentEndpoint.objects.update(base_url=URL)
    keep(new=False, base_url=elsewhere, key="sk-next")
    assert key_of("fast") == "sk-next"


def test_with_another_secret_key_the_run_fails_in_clear_words(keep: Any, settings: Any) -> None:
    keep(key=KEY)
    settings.SECRET_KEY = "another" * 8
    assert list(endpoints.known()) == ["fast"]
    with pytest.raises(AgentFailed, match="fast cannot be read: give it again in the admin"):
        endpoints.agent("fast")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "a:b"),
        ("name", "Upper"),
        ("name", "-a"),
        ("name", "a" * 65),
        ("name", "echo"),
        ("name", "default"),
        ("name", "worker"),
        ("name", "taken"),
        ("base_url", ""),
        ("base_url", "models.example/v1"),
        ("base_url", "file:///etc/passwd"),
        ("base_url", "ftp://models.example"),
        ("base_url", "https://"),
        ("base_url", "https://me:secret@models.example/v1"),
        ("base_url", "https://models.example/v1?key=secret"),
        ("base_url", "https://models.example/v1#here"),
        ("base_url", "https://models.example:port/v1"),
        ("base_url", "https://models.example:0/v1"),
        ("base_url", "https://models.example/v1\r\nX: y"),
        ("base_url", "https://" + "m" * 500),
        ("model", " "),
        ("model", "a\nb"),
        ("key", f"{KEY}\r\nX: y"),
        ("key", f"{KEY}é"),
    ],
)
def test_nonsense_is_refused_by_its_field_without_showing_a_key(
    keep: Any, field: str, value: str
) -> None:
    keep("taken")
    with pytest.raises(InvalidParams) as refused:
        keep(**{field: value})
    assert (refused.value.details or {})["field"] == field
    assert KEY not in str(refused.value)
    assert AgentEndpoint.objects.count() == 1


def test_what_is_gone_cannot_be_changed(keep: Any) -> None:
    with pytest.raises(NotFound, match="^endpoint not found: fast$"):
        keep(new=False)


def test_only_superusers_keep_and_remove_endpoints(
    keep: Any, people: dict[str, Principal], boss: Principal
) -> None:
    keep()
    limited = replace(boss, scopes=frozenset({"operator.admin"}))
    for principal in (*people.values(), limited):
        with pytest.raises(RoleTooLow):
            keep("mine", principal=principal)
        with pytest.raises(RoleTooLow):
            keep(new=False, principal=principal)
        with pytest.raises(RoleTooLow):
            endpoints.remove(principal=principal, name="fast")
    assert [row.name for row in AgentEndpoint.objects.all()] == ["fast"]
    endpoints.remove(principal=boss, name="fast")
    endpoints.remove(principal=boss, name="fast")
    assert not endpoints.exists("fast")


def test_who_changed_what_is_told_but_never_the_key(keep: Any, boss: Principal) -> None:
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    logging.getLogger().addHandler(handler)
    try:
        keep(key=KEY)
        keep(new=False, key="sk-next")
        endpoints.remove(principal=boss, name="fast")
    finally:
        logging.getLogger().removeHandler(handler)
    told = lines.getvalue() + str(list(LogEntry.objects.values()))
    assert told.count("agent.endpoint") == 3
    assert KEY not in told and "sk-next" not in told
