"""Which agent a name means in this deployment."""

from __future__ import annotations

from django.conf import settings

from realtime.core.errors import NotFound
from sessions_app import agents
from sessions_app.agents.endpoint import Endpoint
from sessions_app.services import endpoints


def in_key(session_key: str) -> str:
    """The agent key inside `agent:{key}:…`; empty for any other session key."""
    parts = session_key.split(":")
    return parts[1] if len(parts) > 2 and parts[0] == "agent" else ""


def key_of(name: str) -> str:
    """The key of the agent called `name`, should there be one."""
    return settings.DEFAULT_AGENT if name == agents.DEFAULT else name


def resolve(name: str) -> str:
    """The key of the agent called `name`. Raises NotFound."""
    key = key_of(name)
    if key not in agents.AGENTS and not endpoints.exists(key):
        raise NotFound(f"agent not found: {name}")
    return key


def get(key: str) -> agents.Agent:
    """The agent of a resolved key, ready to run. Raises AgentFailed."""
    return agents.AGENTS.get(key) or endpoints.agent(key)


def known() -> dict[str, agents.Agent | Endpoint]:
    """Name, model and provider of every agent, by key."""
    return {**agents.AGENTS, **endpoints.known()}


def synonyms(name: str) -> list[str]:
    """Every name under which sessions of this agent may be stored."""
    if name in (agents.DEFAULT, settings.DEFAULT_AGENT):
        return [agents.DEFAULT, settings.DEFAULT_AGENT]
    return [name]
