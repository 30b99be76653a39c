"""What happens inside: sessions and their events, the runs of agents, uploads, who is present."""

from sessions_app.models.bulk import BulkSend
from sessions_app.models.commands import (
    OPEN,
    TRANSITIONS,
    CommandEvent,
    CommandQuerySet,
    ScheduledCommand,
    Status,
)
from sessions_app.models.endpoints import AgentEndpoint
from sessions_app.models.media import Media
from sessions_app.models.presence import Presence
from sessions_app.models.sessions import (
    MAX_MESSAGES_CHARACTERS,
    MESSAGE_EXTRAS,
    Run,
    Session,
    SessionEvent,
    new_uuid,
)

__all__ = [
    "MAX_MESSAGES_CHARACTERS",
    "MESSAGE_EXTRAS",
    "OPEN",
    "TRANSITIONS",
    "AgentEndpoint",
    "BulkSend",
    "CommandEvent",
    "CommandQuerySet",
    "Media",
    "Presence",
    "Run",
    "ScheduledCommand",
    "Session",
    "SessionEvent",
    "Status",
    "new_uuid",
]
