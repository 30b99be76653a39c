"""Clients for Trunkline.

`EdgeAgent` acts once on each command and says what became of it. `TopicClient` and `GroupClient`
hear and speak over connections that come back, and say what they may have missed.
"""

from __future__ import annotations

from trunkline_client.commands import Command
from trunkline_client.connection import Loss, Timing
from trunkline_client.edge import ANY, EdgeAgent, Replaced
from trunkline_client.groups import GroupClient, GroupMessage, Presence
from trunkline_client.ledger import Ledger, LedgerInUse
from trunkline_client.live import Connected, Failure, Gap, Lost, QueueFull, Revoked
from trunkline_client.topics import Message, TopicClient

__version__ = "0.1.0"
__all__ = [
    "ANY",
    "Command",
    "Connected",
    "EdgeAgent",
    "Failure",
    "Gap",
    "GroupClient",
    "GroupMessage",
    "Ledger",
    "LedgerInUse",
    "Loss",
    "Lost",
    "Message",
    "Presence",
    "QueueFull",
    "Replaced",
    "Revoked",
    "Timing",
    "TopicClient",
]
