"""create_user: a person with a role in an account."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from accounts.management.base import ReportingCommand
from accounts.services import people


class Command(ReportingCommand):
    help = "Create a user. Without --password the user can only be given keys and tokens."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("name")
        parser.add_argument("--password")
        parser.add_argument("--role", choices=["viewer", "operator", "admin"], default="operator")
        parser.add_argument("--account", default="default", metavar="SLUG")

    def work(self, **options: Any) -> dict[str, Any]:
        made = people.create(
            username=options["name"],
            password=options["password"],
            role=options["role"],
            account=options["account"],
        )
        return {
            "id": made.user.pk,
            "username": made.user.username,
            "role": made.role,
            "account": made.account.slug,
        }
