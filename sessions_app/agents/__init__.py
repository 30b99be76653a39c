"""Which agents are built in. Another one is a module beside `echo.py` and a line in AGENTS.

Those that answer from a model's endpoint are made of settings and rows: `services/endpoints.py`.
"""

from __future__ import annotations

from sessions_app.agents.base import Agent, AgentFailed, Retrying, Turn
from sessions_app.agents.echo import Echo
from sessions_app.agents.worker import Worker

# The agent whose turns a worker takes from outside, over 002.
WORKER = "worker"

AGENTS: dict[str, Agent] = {"echo": Echo(), WORKER: Worker()}

# The name that stands for the deployment's own choice. PROTOCOLS.md 6.
DEFAULT = "default"

# The name of the endpoint that settings describe.
OPENAI = "openai"

__all__ = ["AGENTS", "DEFAULT", "OPENAI", "WORKER", "Agent", "AgentFailed", "Retrying", "Turn"]
