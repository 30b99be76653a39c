"""Probes: is the process alive, can it serve, and its numbers. CONTRACT.md, HTTP."""

from __future__ import annotations

from collections.abc import Callable

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from realtime import node
from realtime.protocols.goclaw.frames import PROTOCOL_VERSION

_migrated = False


@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    """`/healthz`: the process answers; nothing else is asked."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """`/readyz`: 200 when this process can serve, else 503; either way each check with its word."""
    checks = {name: check() for name, check in _CHECKS.items()}
    status = 200 if all(word == "ok" for word in checks.values()) else 503
    response = JsonResponse({"ready": status == 200, "checks": checks}, status=status)
    response["Cache-Control"] = "no-store"
    return response


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)


@require_safe
def protocol(request: HttpRequest) -> HttpResponse:
    """`/health`, what 001's clients ask. Source: PROTOCOLS.md 2.11."""
    return JsonResponse({"status": "ok", "protocol": PROTOCOL_VERSION})


def pending_migrations() -> bool:
    """Whether the database is older than the code. Raises DatabaseError."""
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "does not answer"
    return "ok"


def _migrations() -> str:
    global _migrated
    if not _migrated:
        try:
            pending = pending_migrations()
        except DatabaseError:
            return "unknown"
        if pending:
            return "not applied: run manage.py migrate"
        _migrated = True
    return "ok"


def _bus() -> str:
    current = node.current()
    if current is None:
        return "not started"
    return "ok" if current.hub.connected else "redis does not answer"


def _draining() -> str:
    current = node.current()
    return "draining" if current is not None and current.draining else "ok"


_CHECKS: dict[str, Callable[[], str]] = {
    "database": _database,
    "migrations": _migrations,
    "bus": _bus,
    "draining": _draining,
}
