"""What `manage.py` makes on a running server, and the one thing a test needs of it."""

from __future__ import annotations

import json

from tests.services import Serve


def a_session(server: Serve, key: str = "s", user: str = "alice", *more: str) -> str:
    """The public id of a new session."""
    return _made(server, "id", "create_session", key, "--user", user, *more)


def a_key(server: Serve, scopes: str = "sessions.work", user: str = "alice", *more: str) -> str:
    """A new API key."""
    return _made(server, "key", "create_api_key", "k", "--user", user, "--scopes", scopes, *more)


def token_of(server: Serve, name: str) -> str:
    """An access token of one of the people."""
    return _made(server, "access", "issue_token", name)


def _made(server: Serve, what: str, *command: str) -> str:
    answer: dict[str, str] = json.loads(server.run(*command, "--json"))
    return answer[what]
