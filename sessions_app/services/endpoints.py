"""The agents that answer from a model's endpoint: one of the settings, any number of the admin.

A key of the admin is kept encrypted, together with the host that it is for. Decision 0012.
"""

from __future__ import annotations

import base64
import re
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import transaction

from accounts.services import journal
from realtime.core.errors import InvalidParams, NotFound, RoleTooLow
from realtime.core.principal import Principal
from sessions_app import agents
from sessions_app.agents.endpoint import Endpoint, Limits, complaints, origin_of
from sessions_app.agents.openai import OpenAI
from sessions_app.models import AgentEndpoint

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
TAKEN = frozenset({*agents.AGENTS, agents.DEFAULT})  # names that mean something else


def exists(name: str) -> bool:
    described = name == agents.OPENAI and bool(settings.OPENAI_MODEL)
    return described or AgentEndpoint.objects.filter(name=name).exists()


def known() -> dict[str, Endpoint]:
    """All of them by name, without their keys; a row takes the place of the settings."""
    found = {}
    if settings.OPENAI_MODEL:
        found[agents.OPENAI] = Endpoint(
            agents.OPENAI, settings.OPENAI_BASE_URL, settings.OPENAI_MODEL
        )
    for row in AgentEndpoint.objects.order_by("name"):
        found[row.name] = Endpoint(row.name, row.base_url, row.model)
    return found


def agent(name: str) -> OpenAI:
    """The agent of this name, ready to run. Raises AgentFailed."""
    row = AgentEndpoint.objects.filter(name=name).first()
    if row is not None:
        endpoint = Endpoint(row.name, row.base_url, row.model, _opened(row))
    elif name == agents.OPENAI and settings.OPENAI_MODEL:
        described = settings.OPENAI_BASE_URL, settings.OPENAI_MODEL, settings.OPENAI_API_KEY
        endpoint = Endpoint(name, *described)
    else:
        raise agents.AgentFailed(f"agent not found: {name}")
    return OpenAI(endpoint, _limits())


@transaction.atomic
def keep(
    *,
    principal: Principal,
    name: str,
    base_url: str,
    model: str,
    key: str = "",
    forget_key: bool = False,
    new: bool = False,
) -> AgentEndpoint:
    """Make a `new` endpoint, or change one; without `key` it keeps the one it has.

    Raises RoleTooLow, InvalidParams (`details` name the field), NotFound.
    """
    _require_superuser(principal)
    if not _NAME.fullmatch(name):
        raise _refused("name", "it takes 1 to 64 of a-z, 0-9, - and _, a letter or digit first")
    for field, words in complaints(base_url=base_url, model=model, key=key).items():
        raise _refused(field, words)
    row = AgentEndpoint.objects.select_for_update().filter(name=name).first()
    if new and (row is not None or name in TAKEN):
        raise _refused("name", "another agent has this name")
    if new:
        row = AgentEndpoint(name=name)
    if row is None:
        raise NotFound(f"endpoint not found: {name}")
    if forget_key:
        row.sealed_key = ""
    if key:
        row.sealed_key = _sealed(key, base_url)
    elif row.sealed_key and origin_of(row.base_url) != origin_of(base_url):
        raise _refused("key", f"the one that is kept is for {origin_of(row.base_url)} alone")
    row.base_url, row.model = base_url, model
    row.save()
    action = "made" if new else "changed"
    journal.decided("agent.endpoint", principal=principal, row=row, action=action)
    return row


@transaction.atomic
def remove(*, principal: Principal, name: str) -> None:
    """Raises RoleTooLow."""
    _require_superuser(principal)
    row = AgentEndpoint.objects.select_for_update().filter(name=name).first()
    if row is not None:
        journal.decided("agent.endpoint", principal=principal, row=row, action="deleted")
        row.delete()


def _require_superuser(principal: Principal) -> None:
    """Every account's messages go there."""
    if not principal.is_superuser or principal.scopes:
        raise RoleTooLow("permission denied: an agent's endpoint requires a superuser")


def _refused(field: str, words: str) -> InvalidParams:
    return InvalidParams(f"{field}: {words}", details={"field": field})


def _limits() -> Limits:
    return Limits(
        connect_s=settings.OPENAI_CONNECT_S,
        first_s=settings.OPENAI_FIRST_S,
        between_s=settings.OPENAI_BETWEEN_S,
        whole_s=settings.OPENAI_WHOLE_S,
        attempts=settings.OPENAI_ATTEMPTS,
        answer_characters=settings.OPENAI_MAX_ANSWER,
        history_characters=settings.OPENAI_MAX_HISTORY,
    )


def _sealed(key: str, base_url: str) -> str:
    return _box().encrypt(f"{origin_of(base_url)} {key}".encode()).decode()


def _opened(row: AgentEndpoint) -> str:
    if not row.sealed_key:
        return ""
    try:
        origin, _, key = _box().decrypt(row.sealed_key).decode().partition(" ")
    except InvalidToken:
        words = f"the key of the agent {row.name} cannot be read: give it again in the admin"
        raise agents.AgentFailed(words, detail="SECRET_KEY is another one than before") from None
    if origin != origin_of(row.base_url):
        raise agents.AgentFailed(f"the key of the agent {row.name} is for another host")
    return key


def _box() -> Fernet:
    derived: Any = HKDF(SHA256(), length=32, salt=None, info=b"trunkline agent endpoint key")
    return Fernet(base64.urlsafe_b64encode(derived.derive(settings.SECRET_KEY.encode())))
