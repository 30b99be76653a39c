"""What stood in the database before a migration is still right after it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

BEFORE = [("sessions_app", "0005_presence_since"), ("accounts", "0004_edge_agents")]


def at(targets: list[tuple[str, str]]) -> Any:
    executor = MigrationExecutor(connection)
    executor.migrate(targets)
    return MigrationExecutor(connection).loader.project_state(targets).apps


@pytest.mark.django_db(transaction=True)
def test_older_sessions_get_a_public_id_of_their_own() -> None:
    latest = MigrationExecutor(connection).loader.graph.leaf_nodes()
    try:
        old = at(BEFORE)
        account = old.get_model("accounts", "Account").objects.get_or_create(slug="default")[0]
        sessions = old.get_model("sessions_app", "Session")
        for key in ("a", "b", "c"):
            sessions.objects.create(account=account, key=key, owner="alice", agent="echo")
    finally:
        new = at(latest)
    names = new.get_model("sessions_app", "Session").objects.values_list("public_id", flat=True)
    assert len(set(names)) == 3
    assert all(name.startswith("session_") and len(name) >= 30 for name in names)
