"""approve_pairing: decide a pending pairing, also on a running server."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from accounts.management.base import ReportingCommand
from accounts.services import journal, pairing


class Command(ReportingCommand):
    help = "Approve a pending pairing by its code."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("code")

    def work(self, **options: Any) -> dict[str, Any]:
        return pairing.approve(principal=journal.command_line(), code=options["code"])
