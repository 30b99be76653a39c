"""What the system checks say of settings that weaken, or cannot work."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.checks import check_gateway_settings

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
