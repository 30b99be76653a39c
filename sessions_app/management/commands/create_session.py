"""`create_session KEY --user U [--agent A]`: a session ready for its owner."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from accounts.management.base import ReportingCommand
from realtime.core.principal import Principal
from sessions_app.services import sessions


class Command(ReportingCommand):
    help = "Create a session that belongs to a user."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("key", help="the session's key, any text")
        parser.add_argument("--user", required=True, help="the owner: a user name or user_id")
        parser.add_argument("--agent", default="", help="default: the setting DEFAULT_AGENT")
        parser.add_argument("--account", default="default", help="slug of the owner's account")

    def work(self, **options: Any) -> dict[str, Any]:
        session = sessions.create(
            principal=Principal(id=options["user"], account=options["account"]),
            key=options["key"],
            agent=options["agent"] or settings.DEFAULT_AGENT,
        )
        return {"id": session.public_id, "key": session.key}
