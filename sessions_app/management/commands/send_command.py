"""`send_command AGENT_ID TYPE PAYLOAD_JSON`: a command for an edge agent, asleep or not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.management.base import ReportingCommand
from accounts.services import journal
from realtime.core.principal import Principal
from sessions_app.models import ScheduledCommand
from sessions_app.services import agents, commands

BAR = 30  # characters


class Command(ReportingCommand):
    help = "Queue a command for an edge agent, or with --matching for every agent that fits."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("agent_id")
        parser.add_argument("type", help="what the agent is to do, such as schedule_message")
        parser.add_argument("payload", help="a JSON object")
        parser.add_argument("--deliver-at", default="", help="ISO-8601 with a zone; unset: now")
        parser.add_argument("--expires-at", default="", help="not delivered after; unset: never")
        parser.add_argument("--idempotency-key", default="", help="again with it: the same command")
        parser.add_argument(
            "--delivery",
            choices=ScheduledCommand.Delivery.values,
            default=ScheduledCommand.Delivery.AT_LEAST_ONCE.value,
        )
        parser.add_argument("--priority", choices=ScheduledCommand.Priority.values, default="")
        parser.add_argument("--account", default="default", metavar="SLUG")
        parser.add_argument(
            "--matching",
            action="store_true",
            help="AGENT_ID is a pattern with * and ?: send to each known agent that fits",
        )

    def work(self, **options: Any) -> dict[str, Any]:
        principal = replace(journal.command_line(), account=options["account"])
        asked = {
            "command_type": options["type"],
            "payload": _object(options["payload"]),
            "deliver_at": options["deliver_at"],
            "expires_at": options["expires_at"],
            "idempotency_key": options["idempotency_key"],
            "delivery": options["delivery"],
            "priority": options["priority"],
        }
        if options["matching"]:
            return self._to_many(principal, options["agent_id"], asked)
        command, _ = commands.schedule(principal=principal, agent_id=options["agent_id"], **asked)
        return {"command_id": command.pk, "status": command.status}

    def _to_many(self, principal: Principal, pattern: str, asked: dict[str, Any]) -> dict[str, Any]:
        ids = agents.matching(principal=principal, pattern=pattern)
        sent = commands.send_to_many(principal=principal, agent_ids=ids, **asked)
        steps = list(self._shown(sent))
        return {
            "commands": [
                {"agent_id": step.agent_id, "command_id": step.command.pk}
                for step in steps
                if step.command
            ],
            "refused": [
                {"agent_id": step.agent_id, "error": step.error} for step in steps if step.error
            ],
        }

    def _shown(self, steps: Iterator[commands.Progress]) -> Iterator[commands.Progress]:
        """With a bar on standard error, where somebody may be looking at it."""
        looking = self.stderr.isatty()
        for step in steps:
            if looking:
                full = BAR * step.done // step.total
                bar = f"\r[{'#' * full}{' ' * (BAR - full)}] {step.done}/{step.total}"
                self.stderr.write(bar, ending="" if step.done < step.total else "\n")
            yield step

    def words(self, result: dict[str, Any]) -> str:
        if "commands" not in result:
            return super().words(result)
        refused = [f"refused: {row['agent_id']}: {row['error']}" for row in result["refused"]]
        return "\n".join([f"queued: {len(result['commands'])}", *refused])


def _object(text: str) -> dict[str, Any]:
    try:
        payload: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"payload: not JSON: {error}") from None
    return payload
