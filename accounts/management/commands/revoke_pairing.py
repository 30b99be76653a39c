"""revoke_pairing: end a paired device and close its sockets, also on a running server."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from accounts.management.base import ReportingCommand
from accounts.services import journal, pairing


class Command(ReportingCommand):
    help = "Revoke a paired device by its sender id."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("sender_id")
        parser.add_argument("--channel", default="browser")

    def work(self, **options: Any) -> dict[str, Any]:
        return pairing.revoke(
            principal=journal.command_line(),
            sender_id=options["sender_id"],
            channel=options["channel"],
        )
