"""Which agent a name means in this deployment."""

from __future__ import annotations

from django.conf import settings

from realtime.core.errors import NotFound
from sessions_app import agents


def in_key(session_key: str) -> str:
    """The agent key inside `agent:{key}:…`; empty for any other session key."""
    parts = session_key.split(":")
    return parts[1] if len(parts) > 2 and parts[0] == "agent" else ""


def resolve(name: str) -> str:
    """The key of the agent called `name`. Raises NotFound."""
    try:
        return agents.resolve(name, default=settings.DEFAULT_AGENT)
    except KeyError:
        raise NotFound(f"agent not found: {name}") from None


def synonyms(name: str) -> list[str]:
    """Every name under which sessions of this agent may be stored."""
    if name in (agents.DEFAULT, settings.DEFAULT_AGENT):
        return [agents.DEFAULT, settings.DEFAULT_AGENT]
    return [name]
