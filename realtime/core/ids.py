"""Ids that peers choose: opaque text of any script. Source: PROTOCOLS.md 0.1."""

from __future__ import annotations

import unicodedata

from realtime.core.errors import NotFound

MAX_LENGTH = 128


def check(name: str, value: str) -> str:
    """`value`, if it can be an id. Raises NotFound: nothing can be at such a place."""
    if not 1 <= len(value) <= MAX_LENGTH:
        raise NotFound(f"{name} takes 1 to {MAX_LENGTH} characters")
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise NotFound(f"{name} takes no control characters")
    return value
