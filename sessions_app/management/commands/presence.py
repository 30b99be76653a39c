"""presence: who is here, of all protocols."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.core.management.base import CommandParser

from accounts.management.base import ReportingCommand
from accounts.models import Account
from accounts.services import journal
from realtime.core.errors import NotFound
from sessions_app.serializers import MemberSerializer
from sessions_app.services import members


class Command(ReportingCommand):
    help = "List who is here, of all protocols and processes; whoever came first stands first."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--group", default="", metavar="ID", help="of one group of 003 only")
        parser.add_argument("--account", default="default", metavar="SLUG")

    def work(self, **options: Any) -> dict[str, Any]:
        slug = options["account"]
        if not Account.objects.filter(slug=slug).exists():
            raise NotFound(f"account not found: {slug}")
        principal = replace(journal.command_line(), account=slug)
        found = members.everyone(principal=principal, group_id=options["group"])
        return {"members": MemberSerializer(list(found), many=True).data}

    def words(self, result: dict[str, Any]) -> str:
        lines = [
            f"{one['protocol']:<7}  {one['client_id'] or '-'}  user {one['user'] or '-'}"
            f"  group {one['group'] or '-'}  since {one['since']}  last seen {one['last_seen']}"
            for one in result["members"]
        ]
        return "\n".join(lines) or "nobody is here"
