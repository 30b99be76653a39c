from __future__ import annotations

import subprocess
import sys

import pytest

from sessions_app import agents


def test_default_is_replaced_and_others_are_not() -> None:
    assert agents.resolve("default", default="echo") == "echo"
    assert agents.resolve("echo", default="nobody") == "echo"


@pytest.mark.parametrize(("name", "default"), [("nobody", "echo"), ("default", "nobody")])
def test_an_agent_that_there_is_not_raises(name: str, default: str) -> None:
    with pytest.raises(KeyError):
        agents.resolve(name, default=default)


def test_every_agent_has_what_lists_show() -> None:
    for key, agent in agents.AGENTS.items():
        assert agents.get(key) is agent
        assert agent.name and agent.model and agent.provider


def test_agents_know_no_django() -> None:
    code = "import sys, sessions_app.agents; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
