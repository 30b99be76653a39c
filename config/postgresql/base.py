"""Django's PostgreSQL backend, for lines that may be given up (see `connection`)."""

from __future__ import annotations

from typing import Any

import psycopg
from django.db.backends.postgresql import base

from config.postgresql.connection import Connection


class _Driver:
    """psycopg, whose connections are ours."""

    connect = staticmethod(Connection.connect)

    def __getattr__(self, name: str) -> Any:
        return getattr(psycopg, name)


class DatabaseWrapper(base.DatabaseWrapper):
    Database: Any = _Driver()

    def set_autocommit(self, autocommit: bool, *args: Any, **kwargs: Any) -> None:
        """Not on a line that has just been lost: Django would wait for a new one, to set what each
        new one has, before it tells of the loss.
        """
        if self.connection is not None or autocommit != self.settings_dict["AUTOCOMMIT"]:
            super().set_autocommit(autocommit, *args, **kwargs)
