from __future__ import annotations

import subprocess
import sys

from sessions_app import agents


def test_every_agent_has_what_lists_show() -> None:
    for agent in agents.AGENTS.values():
        assert agent.name and agent.model and agent.provider


def test_agents_know_no_django() -> None:
    code = "import sys, sessions_app.agents; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
