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
from sessions_app.models.control import ControlRequest
from sessions_app.models.endpoints import AgentEndpoint
from sessions_app.models.media import Media
from sessions_app.models.presence import Presence
from sessions_app.models.sessions import (
    IS_MESSAGE,
    MAX_MESSAGES_CHARACTERS,
    MESSAGE_EXTRAS,
    Run,
    Session,
    SessionEvent,
    new_uuid,
)

__all__ = [
    "IS_MESSAGE",
    "MAX_MESSAGES_CHARACTERS",
    "MESSAGE_EXTRAS",
    "OPEN",
    "TRANSITIONS",
    "AgentEndpoint",
    "BulkSend",
    "CommandEvent",
    "CommandQuerySet",
    "ControlRequest",
    "Media",
    "Presence",
    "Run",
    "ScheduledCommand",
    "Session",
    "SessionEvent",
    "Status",
    "new_uuid",
]
