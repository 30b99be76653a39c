"""issue_nexus_token: a token for 004, for somebody who need not be a user here."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from accounts.management.base import ReportingCommand
from accounts.services import lifetimes, nexus_tokens


class Command(ReportingCommand):
    help = "Issue a token for topics (004), signed with NEXUS_JWT_SECRET."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("user_id", help="what others read as `from`")
        parser.add_argument(
            "--role",
            default="agent",
            help="such as agent, observer or operator (who may follow the topics of agents)",
        )
        parser.add_argument("--expires-in", default="1h", help="30d, 12h, 15m, 90s")

    def work(self, **options: Any) -> dict[str, Any]:
        lifetime = lifetimes.parse(options["expires_in"])
        token = nexus_tokens.issue(
            user_id=options["user_id"], role=options["role"], lifetime=lifetime
        )
        return {"token": token}
