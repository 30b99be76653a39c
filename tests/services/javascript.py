"""Where the JavaScript runtimes of the tests are."""

from __future__ import annotations

import shutil
from pathlib import Path

MODULES = Path(__file__).resolve().parents[1] / "node_modules"


def node() -> Path:
    found = shutil.which("node")
    assert found, "node is missing: install Node.js 20 or newer"
    return Path(found)


def bun() -> Path:
    """The program itself: the package's own name for it needs a script that is not run here."""
    found = sorted(MODULES.glob("@oven/bun-*/bin/bun"), key=lambda path: len(str(path)))
    assert found, "bun is missing: make setup installs it"
    return found[0]
