"""Who is let through the gate of ownership, for tests of each thing behind it: `people` by name."""

from __future__ import annotations

import pytest

from realtime.core.errors import NotFound, NotOwner

_STRANGERS = [
    ("stranger", NotOwner),
    ("other tenant's owner", NotFound),
    ("other tenant's admin", NotFound),
]

strangers = pytest.mark.parametrize(("who", "refusal"), _STRANGERS)
everyone = pytest.mark.parametrize(
    ("who", "refusal"), [("owner", None), ("admin", None), *_STRANGERS]
)
