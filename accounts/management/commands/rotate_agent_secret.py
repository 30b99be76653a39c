"""rotate_agent_secret: a secret of an edge agent's own, shown this once."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from accounts.management.base import ReportingCommand
from accounts.services import agent_secrets, journal, lifetimes


class Command(ReportingCommand):
    help = "Give an edge agent a secret of its own, or the next one; it is shown this once."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("agent_id")
        parser.add_argument("--account", default="default", metavar="SLUG")
        parser.add_argument(
            "--overlap", default="", help="how long the one before still opens: 12h, 15m; unset: 0"
        )

    def work(self, **options: Any) -> dict[str, Any]:
        overlap = agent_secrets.NO_OVERLAP
        if options["overlap"]:
            overlap = lifetimes.parse(options["overlap"])
        made = agent_secrets.rotate(
            principal=journal.command_line(),
            agent_id=options["agent_id"],
            account=options["account"],
            overlap=overlap,
        )
        return {
            "agent_id": made.row.agent_id,
            "account": made.row.account.slug,
            "secret": made.text,
            "previous_until": made.row.previous_until,
        }
