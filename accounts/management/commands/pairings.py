"""pairings: what waits for a decision, and what is paired."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from accounts.management.base import ReportingCommand
from accounts.models import Pairing
from accounts.serializers import PairingRow
from accounts.services import journal, pairing


class Command(ReportingCommand):
    help = "List pairings, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--status", choices=Pairing.Status.values, default="")

    def work(self, **options: Any) -> dict[str, Any]:
        pairing.expire()
        rows = pairing.rows(principal=journal.command_line(), status=options["status"])
        return {"pairings": PairingRow(rows, many=True).data}

    def words(self, result: dict[str, Any]) -> str:
        lines = [
            f"{row['code']}  {row['status']:<8}  {row['channel']}  user {row['user_id'] or '-'}"
            f"  from {row['address'] or '-'}  until {row['approved_until'] or row['expires_at']}"
            for row in result["pairings"]
        ]
        return "\n".join(lines) or "no pairings"
