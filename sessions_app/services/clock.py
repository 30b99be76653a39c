"""The one clock that decides what is due, expired or lapsed: the database's."""

from __future__ import annotations

import datetime as dt

from django.db import connection

# Of the statement, not of its transaction: whoever has waited for a lock asks after it.
ASK = {
    "postgresql": "SELECT STATEMENT_TIMESTAMP()",
    "sqlite": "SELECT STRFTIME('%Y-%m-%dT%H:%M:%f+00:00', 'NOW')",
}


def now() -> dt.datetime:
    """The database's time, aware; processes with skewed clocks agree on it."""
    with connection.cursor() as cursor:
        cursor.execute(ASK[connection.vendor])
        (moment,) = cursor.fetchone()
    return moment if isinstance(moment, dt.datetime) else dt.datetime.fromisoformat(moment)
