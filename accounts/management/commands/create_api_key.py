"""create_api_key: a key of a user, shown this once."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from accounts.management.base import ReportingCommand
from accounts.services import journal, keys, lifetimes, people
from accounts.services.scopes import SCOPES


class Command(ReportingCommand):
    help = "Create an API key of a user; it is shown this once."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("name", help="what the key is for")
        parser.add_argument("--user", required=True)
        parser.add_argument("--scopes", default="", help=f"comma-separated: {', '.join(SCOPES)}")
        parser.add_argument("--expires-in", default="", help="30d, 12h, 15m, 90s; never if unset")

    def work(self, **options: Any) -> dict[str, Any]:
        ends = None
        if options["expires_in"]:
            ends = timezone.now() + lifetimes.parse(options["expires_in"])
        made = keys.create(
            principal=journal.command_line(),
            name=options["name"],
            user=people.named(options["user"]),
            scopes_=[scope.strip() for scope in options["scopes"].split(",") if scope.strip()],
            expires_at=ends,
        )
        return {"id": made.row.pk, "prefix": made.row.prefix, "key": made.text}
