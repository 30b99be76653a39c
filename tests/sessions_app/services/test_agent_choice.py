from __future__ import annotations

from typing import Any

import pytest

from realtime.core.errors import NotFound
from sessions_app.services import agent_choice


@pytest.mark.parametrize(
    ("key", "agent"),
    [
        ("agent:echo:ws:direct:1", "echo"),
        ("agent:echo:x", "echo"),
        ("agent:echo", ""),
        ("agent::x", ""),
        ("user:demo", ""),
        ("user:demo:x", ""),
        ("", ""),
    ],
)
def test_the_agent_is_read_from_the_canonical_key(key: str, agent: str) -> None:
    assert agent_choice.in_key(key) == agent


def test_default_means_what_the_setting_says(db: None, settings: Any) -> None:
    assert agent_choice.resolve("default") == "echo"
    settings.DEFAULT_AGENT = "nobody"
    with pytest.raises(NotFound, match="^agent not found: default$"):
        agent_choice.resolve("default")


@pytest.mark.parametrize("name", ["nobody", "", "ECHO"])
def test_an_agent_that_there_is_not_is_not_found(db: None, name: str) -> None:
    with pytest.raises(NotFound, match=f"^agent not found: {name}$"):
        agent_choice.resolve(name)


def test_the_default_agent_goes_by_two_names() -> None:
    assert set(agent_choice.synonyms("default")) == {"default", "echo"}
    assert set(agent_choice.synonyms("echo")) == {"default", "echo"}
    assert agent_choice.synonyms("worker") == ["worker"]
