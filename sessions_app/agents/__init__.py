"""Which agents there are. Another one is a module beside `echo.py` and a line in AGENTS."""

from __future__ import annotations

from sessions_app.agents.base import Agent, Turn
from sessions_app.agents.echo import Echo
from sessions_app.agents.worker import Worker

AGENTS: dict[str, Agent] = {"echo": Echo()}

# The agent whose turns a worker takes from outside, over 002.
WORKER = "worker"
AGENTS[WORKER] = Worker()

# The name that stands for the deployment's own choice. PROTOCOLS.md 6.
DEFAULT = "default"

__all__ = ["AGENTS", "DEFAULT", "WORKER", "Agent", "Turn", "get", "resolve"]


def resolve(name: str, *, default: str) -> str:
    """The agent key that `name` means, `default` being what "default" means. Raises KeyError."""
    key = default if name == DEFAULT else name
    if key not in AGENTS:
        raise KeyError(name)
    return key


def get(key: str) -> Agent:
    """The agent of a resolved key. Raises KeyError."""
    return AGENTS[key]
