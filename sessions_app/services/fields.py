"""What a value must be before it is stored; SQLite would take anything."""

from __future__ import annotations

from realtime.core.errors import InvalidParams

KEY_LENGTH = 512  # of a session key
NAME_LENGTH = 255  # of user, agent and message ids


def require(value: str, name: str) -> None:
    if not value:
        raise InvalidParams(f"{name} is required")


def check_length(value: str, name: str, longest: int) -> None:
    if len(value) > longest:
        raise InvalidParams(f"{name} is longer than {longest} characters")
