"""Clients for Trunkline.

`EdgeAgent` acts once on each command and says what became of it. `TopicClient` and `GroupClient`
hear and speak over connections that come back, and say what they may have missed.
`SessionClient` watches and steers a session, `SessionWorker` serves one.
"""

from __future__ import annotations

from trunkline_client.commands import Command
from trunkline_client.connection import Loss, Timing
from trunkline_client.edge import ANY, EdgeAgent, Replaced
from trunkline_client.groups import GroupClient, GroupMessage, Presence
from trunkline_client.ledger import Ledger, LedgerInUse
from trunkline_client.live import Connected, Failure, Gap, Lost, QueueFull, Revoked
from trunkline_client.sessions import GaveUp, NotFound, Refused, SessionClient
from trunkline_client.story import Resumed
from trunkline_client.topics import Message, TopicClient
from trunkline_client.worker import SessionWorker, Turn, Unsupported

__version__ = "0.1.0"
__all__ = [
    "ANY",
    "Command",
    "Connected",
    "EdgeAgent",
    "Failure",
    "Gap",
    "GaveUp",
    "GroupClient",
    "GroupMessage",
    "Ledger",
    "LedgerInUse",
    "Loss",
    "Lost",
    "Message",
    "NotFound",
    "Presence",
    "QueueFull",
    "Refused",
    "Replaced",
    "Resumed",
    "Revoked",
    "SessionClient",
    "SessionWorker",
    "Timing",
    "TopicClient",
    "Turn",
    "Unsupported",
]
