"""The JavaScript client: its own tests, its types, its size. Source: issue 3, ECOSYSTEM 4.15."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.services.javascript import bun, node

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "clients" / "js"
TSC = ROOT / "tests" / "node_modules" / ".bin" / "tsc"
PROJECT = Path(__file__).with_name("tsconfig.json")
# With their comments, as a page without a bundler loads them.
MAX_GZIPPED_BYTES = {"gateway.js": 8800, "topics.js": 7900, "groups.js": 7500, "sessions.js": 9050}
MAX_GZIPPED_BYTES_OF_ALL = 10_450  # as a bundler ships them; 12 kB are allowed

AGREEMENT = """
import * as gateway from "./made/gateway.js";
import * as groups from "./made/groups.js";
import * as media from "./made/media.js";
import * as sessions from "./made/sessions.js";
import * as topics from "./made/topics.js";
import * as transport from "./made/transport.js";
const a: typeof import("{client}/gateway.js") = gateway;
const b: typeof import("{client}/media.js") = media;
const c: typeof import("{client}/transport.js") = transport;
const d: typeof import("{client}/topics.js") = topics;
const e: typeof import("{client}/groups.js") = groups;
const f: typeof import("{client}/sessions.js") = sessions;
export { a, b, c, d, e, f };
"""


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=100
    )


def tsc(*arguments: str | Path) -> str:
    """What the compiler complains about."""
    assert TSC.exists(), "typescript is missing: make setup installs it"
    done = run(TSC, *arguments)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def imported(module: str) -> set[str]:
    """A module of the client and everything it loads."""
    text = (CLIENT / module).read_text()
    found = {module}
    for other in re.findall(r'^import .* from "\./([\w.]+)";$', text, re.M):
        found |= imported(other)
    return found


def test_the_javascript_client_passes_its_own_tests() -> None:
    tests = sorted((CLIENT / "test").glob("*.test.js"))
    done = run(node(), "--test", "--test-reporter=tap", *tests)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"^# pass (\d+)$", done.stdout, re.M)
    assert found and int(found[1]) > len(tests), done.stdout
    assert "# skipped 0\n# todo 0\n" in done.stdout


def test_the_types_of_the_code_are_right() -> None:
    assert tsc("-p", PROJECT) == ""


def test_the_code_is_what_the_written_types_promise(tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    for file in CLIENT.glob("*.js"):
        # Out of reach of the written types, except where it names them.
        text = file.read_text()
        (alone / file.name).write_text(re.sub(r'"\./(\w+\.d\.ts)"', rf'"{CLIENT}/\1"', text))
    flags = ["--target", "es2022", "--module", "nodenext", "--strict", "--types", ""]
    (tmp_path / "package.json").write_text('{"type": "module"}')
    made = ["--allowJs", "--declaration", "--emitDeclarationOnly", "--outDir", tmp_path / "made"]
    assert tsc(*flags, *made, *sorted(alone.glob("*.js"))) == ""
    (tmp_path / "agree.ts").write_text(AGREEMENT.replace("{client}", str(CLIENT)))
    assert tsc(*flags, "--noEmit", tmp_path / "agree.ts") == ""


def gzipped(modules: set[str]) -> int:
    text = b"".join((CLIENT / module).read_bytes() for module in sorted(modules))
    return len(gzip.compress(text, compresslevel=9))


@pytest.mark.parametrize("module", MAX_GZIPPED_BYTES)
def test_what_a_page_loads_for_a_client_is_small(module: str) -> None:
    modules = imported(module)
    assert "transport.js" in modules
    assert gzipped(modules) <= MAX_GZIPPED_BYTES[module]


def test_everything_that_a_bundler_ships_is_less_than_twelve_kilobytes(tmp_path: Path) -> None:
    entries = json.loads((CLIENT / "package.json").read_text())["exports"].values()
    everything = [f'export * from "{CLIENT}/{Path(entry["default"]).name}";' for entry in entries]
    (tmp_path / "everything.js").write_text("\n".join(everything))
    # Without comments and blanks; names stay as they are.
    done = run(bun(), "build", "--minify-whitespace", tmp_path / "everything.js")
    assert "sessionKey=" in done.stdout and "/v1/media/upload" in done.stdout, done.stderr
    shipped = gzip.compress(done.stdout.encode(), compresslevel=9)
    assert len(shipped) <= MAX_GZIPPED_BYTES_OF_ALL


def test_the_package_has_no_dependencies_and_names_files_that_exist() -> None:
    package = json.loads((CLIENT / "package.json").read_text())
    assert package["name"] == "trunkline-client"
    assert not {"dependencies", "peerDependencies", "devDependencies"} & package.keys()
    parts = {"./transport", "./media", "./topics", "./groups", "./sessions"}
    assert set(package["exports"]) == {".", *parts}
    named = {
        name.removeprefix("./") for entry in package["exports"].values() for name in entry.values()
    }
    shipped = set(package["files"])
    assert named <= shipped
    assert {path.name for path in CLIENT.iterdir() if path.is_file()} == shipped | {"package.json"}


def test_the_lock_of_the_tools_names_versions_and_hashes_and_no_place() -> None:
    lock = json.loads((ROOT / "tests" / "package-lock.json").read_text())
    asked = json.loads((ROOT / "tests" / "package.json").read_text())["devDependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in asked.values())
    tools = {path: entry for path, entry in lock["packages"].items() if path}
    assert {f"node_modules/{name}" for name in asked} <= tools.keys()
    for path, entry in tools.items():
        assert re.fullmatch(r"sha512-[\w+/=]{88}", entry["integrity"]), path
        assert "resolved" not in entry, path
