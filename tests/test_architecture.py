"""The house holds: the tables are complete, the import rule is kept, a question finds its file."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from realtime import routing
from realtime.core import errors, operations
from realtime.core.limits import MAX_FRAME_BYTES
from realtime.core.protocol import Protocol
from realtime.core.version import VERSION
from realtime.dispatch import SERVICES

ROOT = Path(__file__).parent.parent
FIVE = {"edge", "goclaw", "remote", "aether", "nexus"}
OURS_TOO = {"admin"}  # the live admin pages' own small wire
PURE = sorted([*ROOT.glob("realtime/protocols/**/*.py"), *ROOT.glob("realtime/core/*.py")])
OURS = [
    path
    for folder in ("config", "realtime", "accounts", "sessions_app")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "migrations" not in path.parts
]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


# --- the five have their places ---


def test_every_protocol_has_a_column_in_the_table_of_refusals():
    assert set(errors.WIRES) == FIVE | OURS_TOO | {"http"}


def test_every_protocol_has_its_urls():
    assert {url.protocol for url in routing.URLS} == FIVE | OURS_TOO


def test_every_protocol_has_its_largest_frame():
    assert set(MAX_FRAME_BYTES) == FIVE | OURS_TOO


def test_every_protocol_that_is_served_has_a_place_and_a_name_of_the_tables():
    for protocol in routing.PROTOCOLS:
        assert protocol.name in FIVE | OURS_TOO
        assert protocol().place


def test_the_interface_is_small_and_six_of_it_must_be_written():
    assert Protocol.__abstractmethods__ == {
        "decode",
        "encode",
        "error_frame",
        "handshake",
        "opened",
        "receive",
    }


# --- operations and services ---


def every_operation() -> set[type]:
    return {
        kind
        for _, kind in inspect.getmembers(operations, inspect.isclass)
        if dataclasses.is_dataclass(kind)
    }


def test_every_operation_has_a_service():
    assert set(SERVICES) == every_operation()


@pytest.mark.parametrize("operation", sorted(every_operation(), key=str))
def test_the_fields_of_an_operation_are_the_keywords_of_its_service(operation):
    takes = inspect.signature(SERVICES[operation]).parameters
    given = {field.name for field in dataclasses.fields(operation)} | {"principal"}
    assert given <= set(takes)
    needed = {
        name
        for name, parameter in takes.items()
        if parameter.default is parameter.empty and parameter.kind is parameter.KEYWORD_ONLY
    }
    assert needed - given <= {"node"}, "dispatch adds this process's id, nothing else"
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in takes.values())


# --- purity ---


@pytest.mark.parametrize("path", PURE, ids=named)
def test_what_is_pure_awaits_nothing_and_reads_no_settings(path):
    for part in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(part, ast.Await | ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith)
        if isinstance(part, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in part.names] + [getattr(part, "module", "") or ""]
            assert not {name.split(".")[0] for name in names} & {"django", "channels", "asyncio"}


def test_only_the_settings_read_the_environment():
    readers = {
        named(path)
        for path in OURS
        for part in ast.walk(ast.parse(path.read_text()))
        if isinstance(part, ast.Attribute) and part.attr in {"environ", "getenv"}
    }
    # asgi.py only names the settings module, as every Django project does.
    assert readers <= {"config/environment.py", "config/asgi.py"}


def test_only_one_bridge_leads_from_the_event_loop_to_blocking_work():
    for path in OURS:
        if named(path) in {"realtime/threads.py", "config/handler.py"}:  # ours, and Django's
            continue
        text = path.read_text()
        for bridge in ("import sync_to_async", "import database_sync_to_async", "to_thread("):
            assert bridge not in text, f"{named(path)}: {bridge}"
        assert "run_in_executor" not in text, named(path)


def test_only_the_bus_talks_to_redis():
    for path in OURS:
        if path.is_relative_to(ROOT / "realtime" / "bus"):
            continue
        for part in ast.walk(ast.parse(path.read_text())):
            if isinstance(part, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in part.names] + [getattr(part, "module", "") or ""]
                assert not {name.split(".")[0] for name in names} & {"redis", "channels_redis"}


def test_the_api_names_the_version_of_the_server(settings):
    assert settings.SPECTACULAR_SETTINGS["VERSION"] == VERSION


def test_nothing_below_the_shell_reads_settings():
    for folder in ("core", "protocols", "bus", "server"):
        for path in (ROOT / "realtime" / folder).rglob("*.py"):
            assert "django.conf" not in path.read_text(), named(path)


def test_there_is_no_drawer_where_nothing_can_be_found():
    drawers = {"utils", "helpers", "common", "misc"}
    assert [named(path) for path in OURS if path.stem in drawers] == []


def test_no_module_is_two_rooms():
    assert [named(path) for path in OURS if len(path.read_text().splitlines()) > 430] == []


# --- the two runs of `make test` ---


def test_what_the_second_run_leaves_out_is_whole_in_the_first():
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    suite = re.search(r"^SQLITE_SUITE := not \((.*)\)$", makefile, re.M)
    left_out = re.search(r"^DATABASE_FREE := (.*)$", makefile, re.M)
    assert suite and left_out
    elsewhere = "|".join([*suite[1].split(" or "), "django_db"])
    database = r"\b(transactional_)?db\b: None|[(,] ?db[,)]"
    for path in left_out[1].split():
        here = ROOT / path
        files = [here] if here.is_file() else sorted(here.rglob("*.py"))
        assert files, f"{path}: nothing there"
        for file in files:
            found = re.search(rf"mark\.({elsewhere})\b|{database}", file.read_text())
            assert not found, f"{named(file)}: {found[0]}"


def test_the_import_contracts_are_kept():
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stdout + done.stderr
