"""How long whoever waits for the database waits for one answer of it."""

from __future__ import annotations

from contextvars import ContextVar

REQUEST_S = 3.0  # an HTTP request is answered within 5 s (RELIABILITY.md F-11)
WORK_S = 30.0  # all else that a serving process does

# None: as long as it takes, for a migration does.
answer_within_s: ContextVar[float | None] = ContextVar("answer_within_s", default=None)
