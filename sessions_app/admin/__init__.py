"""The Django admin of sessions and agents: records to look at, connections, commands and
questions to act on, uploads to delete.
"""

from sessions_app.admin import (
    agents,
    commands,
    connections,
    endpoints,
    media,
    questions,
    records,
)

__all__ = ["agents", "commands", "connections", "endpoints", "media", "questions", "records"]
