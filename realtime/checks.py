"""System checks: refuse settings that cannot work, warn of those that weaken."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from sessions_app import agents
from sessions_app.agents import endpoint


@register()
def check_gateway_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for name in ("GATEWAY_TOKEN", "EDGE_SECRET", "RELAY_WEBHOOK_SECRET", "NEXUS_JWT_SECRET"):
        if len(getattr(settings, name)) < 16:
            text = f"{name}: shorter than 16 characters: easy to guess."
            found.append(Warning(text, id="gateway.W002"))
    if len(settings.SECRET_KEY) < 32:
        found.append(
            Error(
                "SECRET_KEY: shorter than 32 characters; it takes a long random text.",
                id="gateway.E001",
            )
        )
    # The first is what the reference comes with: everybody knows it.
    if settings.NEXUS_JWT_SECRET in {"your-secret-key", settings.SECRET_KEY}:
        text = "NEXUS_JWT_SECRET: it takes a long random text of its own."
        found.append(Error(text, id="gateway.E003"))
    if settings.DEFAULT_AGENT not in (*agents.AGENTS, agents.OPENAI):
        given, allowed = settings.DEFAULT_AGENT, ", ".join(sorted([*agents.AGENTS, agents.OPENAI]))
        text = f"DEFAULT_AGENT: {given!r} is not allowed; it takes one of: {allowed}."
        found.append(Error(text, id="gateway.E002"))
    if "*" in settings.ALLOWED_ORIGINS:
        found.append(
            Warning("ALLOWED_ORIGINS: '*' lets every web page connect.", id="gateway.W001")
        )
    return found


@register()
def check_openai_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Only with a model: the other two stand in many an environment for other programs."""
    if not settings.OPENAI_MODEL:
        if settings.DEFAULT_AGENT != agents.OPENAI:
            return []
        text = "DEFAULT_AGENT: without OPENAI_MODEL, 'openai' must be an endpoint of the admin."
        return [Warning(text, id="gateway.W003")]
    names = {"base_url": "OPENAI_BASE_URL", "model": "OPENAI_MODEL", "key": "OPENAI_API_KEY"}
    given = {field: getattr(settings, name) for field, name in names.items()}
    complaints = endpoint.complaints(**given)
    if complaints:
        return [
            Error(f"{names[field]}: {words}.", id="gateway.E004")
            for field, words in complaints.items()
        ]
    if given["key"] and endpoint.travels_openly(given["base_url"]):
        text = "OPENAI_BASE_URL: the key travels there unencrypted; it takes https."
        return [Warning(text, id="gateway.W004")]
    return []
