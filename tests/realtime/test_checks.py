"""What the system checks say of settings that weaken, or cannot work."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.checks import check_gateway_settings, check_openai_settings

SECRETS = ("GATEWAY_TOKEN", "EDGE_SECRET", "RELAY_WEBHOOK_SECRET", "NEXUS_JWT_SECRET")


def found(settings: Any, **values: Any) -> list[tuple[str | None, str]]:
    for name, value in values.items():
        setattr(settings, name, value)
    return [(message.id, message.msg) for message in check_gateway_settings(None)]


def test_good_settings_are_passed_over(settings: Any) -> None:
    assert found(settings, SECRET_KEY="k" * 32, **dict.fromkeys(SECRETS, "x" * 16)) == []


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_that_is_easy_to_guess_is_warned_of(settings: Any, name: str) -> None:
    words = f"{name}: shorter than 16 characters: easy to guess."
    assert ("gateway.W002", words) in found(settings, **{name: "x" * 15})


@pytest.mark.parametrize(
    ("name", "value", "message_id"),
    [
        ("SECRET_KEY", "x" * 31, "gateway.E001"),
        ("DEFAULT_AGENT", "nobody", "gateway.E002"),
        ("NEXUS_JWT_SECRET", "your-secret-key", "gateway.E003"),
        ("ALLOWED_ORIGINS", ["*"], "gateway.W001"),
    ],
)
def test_what_cannot_work_or_weakens_is_named(
    settings: Any, name: str, value: Any, message_id: str
) -> None:
    assert any(
        (one, text.split(":")[0]) == (message_id, name)
        for one, text in found(settings, **{name: value})
    )


def test_004s_secret_is_not_the_one_that_signs_our_own_tokens(settings: Any) -> None:
    ids = [one for one, _ in found(settings, NEXUS_JWT_SECRET=settings.SECRET_KEY)]
    assert "gateway.E003" in ids


@pytest.mark.parametrize(
    ("values", "message_id", "words"),
    [
        ({"OPENAI_BASE_URL": "models.example"}, "gateway.E004", "OPENAI_BASE_URL: it takes"),
        ({"OPENAI_BASE_URL": "https://a:b@c.example"}, "gateway.E004", "OPENAI_BASE_URL: it takes"),
        ({"OPENAI_MODEL": "a\nb"}, "gateway.E004", "OPENAI_MODEL: it takes"),
        ({"OPENAI_API_KEY": "two words"}, "gateway.E004", "OPENAI_API_KEY: it takes"),
        ({"OPENAI_BASE_URL": "http://a.example"}, "gateway.W004", "OPENAI_BASE_URL: the key"),
        (
            {"OPENAI_MODEL": "", "DEFAULT_AGENT": "openai"},
            "gateway.W003",
            "DEFAULT_AGENT: without OPENAI_MODEL",
        ),
    ],
)
def test_an_endpoint_that_cannot_work_is_named_and_its_key_is_not(
    settings: Any, values: dict[str, str], message_id: str, words: str
) -> None:
    settings.OPENAI_MODEL, settings.OPENAI_API_KEY = "m", "sk-1"
    for name, value in values.items():
        setattr(settings, name, value)
    [message] = check_openai_settings(None)
    assert message.id == message_id and message.msg.startswith(words)
    assert "sk-1" not in message.msg and "two words" not in message.msg


@pytest.mark.parametrize(
    "values",
    [
        {"OPENAI_MODEL": "m", "OPENAI_API_KEY": "sk-1"},
        {"OPENAI_MODEL": "m", "OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": "http://[::1]:1/v1"},
        {"OPENAI_MODEL": "m", "OPENAI_BASE_URL": "http://models.example"},
        {"OPENAI_MODEL": "", "OPENAI_BASE_URL": "for another program"},
        {"OPENAI_MODEL": "m", "DEFAULT_AGENT": "openai"},
    ],
)
def test_an_endpoint_that_can_work_and_one_that_is_off_are_passed_over(
    settings: Any, values: dict[str, str]
) -> None:
    settings.OPENAI_API_KEY = ""
    for name, value in values.items():
        setattr(settings, name, value)
    assert check_openai_settings(None) == []
    assert "gateway.E002" not in [message.id for message in check_gateway_settings(None)]
