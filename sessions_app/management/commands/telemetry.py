"""`telemetry`: this machine's CPU, memory and uptime on a topic, now and then."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.management.base import ReportingCommand
from accounts.services import journal
from realtime.core.topics import TELEMETRY
from sessions_app.services import topics
from sessions_app.services.machine import Machine

LONGEST_S = 86_400


class Command(ReportingCommand):
    help = "Publish this machine's load, memory and uptime (Linux), until Ctrl-C or COUNT times."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--channel", default=TELEMETRY)
        parser.add_argument("--every", type=float, default=5.0, metavar="SECONDS")
        parser.add_argument("--count", type=int, metavar="N", help="how often; else until Ctrl-C")
        parser.add_argument("--account", default="default", metavar="SLUG")

    def work(self, **options: Any) -> dict[str, Any]:
        every, count = options["every"], options["count"]
        if not 0 < every <= LONGEST_S:
            raise CommandError(f"every: it takes more than 0 and up to {LONGEST_S} seconds")
        if count is not None and count < 1:
            raise CommandError("count: it takes 1 or more")
        principal = replace(journal.command_line(), account=options["account"])
        machine, published = Machine(), 0
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                topics.publish(principal=principal, channel=options["channel"], data=machine.read())
                published += 1
                if published == count:
                    break
                time.sleep(every)
        return {"channel": options["channel"], "published": published}
