"""Django's PostgreSQL backend, for lines that may be given up (see `connection`): the pool of the
settings makes them.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    def set_autocommit(self, autocommit: bool, *args: Any, **kwargs: Any) -> None:
        """Not on a line that has just been lost: Django would wait for a new one, to set what each
        new one has, before it tells of the loss.
        """
        if self.connection is not None or autocommit != self.settings_dict["AUTOCOMMIT"]:
            super().set_autocommit(autocommit, *args, **kwargs)
