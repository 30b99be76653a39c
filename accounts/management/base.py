"""What our commands share: `--json`, and refusals as command errors."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder

from realtime.core.errors import GatewayError


class ReportingCommand(BaseCommand):
    """A command whose `work` returns a JSON object, or raises GatewayError."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--json", action="store_true", help="one JSON object on one line, nothing else"
        )

    def work(self, **options: Any) -> dict[str, Any]:
        raise NotImplementedError

    def words(self, result: dict[str, Any]) -> str:
        """`result` for people."""
        return "\n".join(f"{key}: {value}" for key, value in result.items())

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            result = self.work(**options)
        except GatewayError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(result, cls=DjangoJSONEncoder))
        else:
            self.stdout.write(self.words(result))
