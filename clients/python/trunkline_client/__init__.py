"""Clients for Trunkline. `EdgeAgent` acts once on each command and says what became of it."""

from __future__ import annotations

from trunkline_client.commands import Command
from trunkline_client.connection import Loss, Timing
from trunkline_client.edge import ANY, EdgeAgent, Replaced
from trunkline_client.ledger import Ledger, LedgerInUse

__version__ = "0.1.0"
__all__ = ["ANY", "Command", "EdgeAgent", "Ledger", "LedgerInUse", "Loss", "Replaced", "Timing"]
