"""Secrets, keys and tokens: a text, or a function that is asked at each attempt to connect."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from trunkline_client.schedule import call

log = logging.getLogger("trunkline_client")

Secret = str | Callable[[], str | Awaitable[str]]


async def shown(secret: Secret, who: str) -> str:
    """What to show this time. Whatever goes wrong is logged for `who`, without the secret."""
    try:
        asked = secret if isinstance(secret, str) else await call(secret)
    except Exception as error:  # only a file's trouble is told: other texts may hold secrets
        why = error if isinstance(error, OSError) else type(error).__name__
        log.error("%s: there is no secret: %s", who, why)
        raise
    text = str(asked).strip()
    if not text or not text.isascii() or not text.isprintable():
        log.error("%s: the secret is empty or not plain ASCII", who)
        raise ValueError
    return text
