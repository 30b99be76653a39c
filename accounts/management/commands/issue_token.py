"""issue_token: an access and a refresh token for a user."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from accounts.management.base import ReportingCommand
from accounts.services import people, tokens


class Command(ReportingCommand):
    help = "Issue an access and a refresh token for a user."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("user")

    def work(self, **options: Any) -> dict[str, Any]:
        return dict(tokens.issue(user=people.named(options["user"])))
