"""The JavaScript client's own tests, run as one."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

CLIENT = Path(__file__).resolve().parents[2] / "clients" / "js"


def test_the_javascript_client_passes_its_own_tests() -> None:
    node = shutil.which("node")
    assert node, "node is missing: install Node.js 20 or newer"
    tests = sorted(str(path) for path in (CLIENT / "test").glob("*.test.js"))
    run = subprocess.run([node, "--test", *tests], capture_output=True, text=True, timeout=50)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "# tests " in run.stdout and "# tests 0" not in run.stdout, run.stdout


def test_the_package_has_no_dependencies_and_names_files_that_exist() -> None:
    package = json.loads((CLIENT / "package.json").read_text())
    assert package["name"] == "trunkline-client"
    assert not {"dependencies", "peerDependencies", "devDependencies"} & package.keys()
    assert all((CLIENT / name).is_file() for name in package["files"])
