"""What an upload is called: a text to show, never a path."""

from __future__ import annotations

import re
import unicodedata

from realtime.core.errors import InvalidParams

LONGEST = 255  # characters
_LONGEST_EXTENSION = 16
_SEPARATORS = re.compile(r"[/\\]")
# Control and direction characters (Cf), halves of pairs, private ones, line and paragraph ends.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def shown_name(given: str) -> str:
    """The last part of `given`, fit to be shown; the extension survives a cut.

    Raises InvalidParams when nothing is left.
    """
    last = _SEPARATORS.split(given)[-1]
    name = "".join(char for char in last if unicodedata.category(char) not in _HIDDEN).strip()
    if not name.strip(". "):
        raise InvalidParams("invalid filename")
    if len(name) <= LONGEST:
        return name
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension) > _LONGEST_EXTENSION:
        return name[:LONGEST]
    return stem[: LONGEST - len(extension) - 1] + dot + extension
