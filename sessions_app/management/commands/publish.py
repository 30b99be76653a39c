"""`publish CHANNEL DATA_JSON`: a `broadcast` to whoever has subscribed to the topic."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.management.base import ReportingCommand
from accounts.services import journal
from sessions_app.services import topics


class Command(ReportingCommand):
    help = "Publish JSON to the subscribers of a topic (004), of all running servers."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("channel")
        parser.add_argument("data", help="any JSON value")
        parser.add_argument("--account", default="default", metavar="SLUG")

    def work(self, **options: Any) -> dict[str, Any]:
        principal = replace(journal.command_line(), account=options["account"])
        try:
            data = json.loads(options["data"])
        except (ValueError, RecursionError) as error:
            raise CommandError(f"data: not JSON: {error}") from None
        return topics.publish(principal=principal, channel=options["channel"], data=data)
