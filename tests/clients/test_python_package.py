"""The Python client as a package: it builds and installs, and its README runs."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tomllib
import venv
import warnings
from pathlib import Path

import pytest
import websockets

import trunkline_client
from tests.clients.far_end import PATIENCE_S, EdgeServer, command

PACKAGE = Path(__file__).resolve().parents[2] / "clients" / "python"
PROJECT = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
README = (PACKAGE / "README.md").read_text()
PAGE = (PACKAGE.parents[1] / "docs" / "protocols" / "edge.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run(*command: str | Path, cwd: Path = PACKAGE, **environment: str) -> str:
    """What it printed; AssertionError with all of it when it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_builds_installs_into_a_fresh_environment_and_runs(tmp_path):
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "fresh", with_pip=False, symlinks=True)
    fresh = tmp_path / "fresh" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", fresh]
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", "--no-compile", wheel)
    # Its one dependency is lent by this environment, so that no network is needed.
    lent = tmp_path / "lent"
    lent.mkdir()
    (lent / "websockets").symlink_to(Path(websockets.__file__).parent)
    ask = "import trunkline_client as c, importlib.metadata as m; print(c.__file__)"
    ask += "; print(*m.requires('trunkline-client'))"
    # from a folder where the sources are not found
    where, needs = run(fresh, "-c", ask, cwd=tmp_path, PYTHONPATH=str(lent)).splitlines()
    installed = Path(where).parent
    assert installed.is_relative_to(tmp_path / "fresh")
    assert (installed / "py.typed").exists()
    script = tmp_path / "fresh" / "bin" / "trunkline-client"
    assert "--secret-file" in run(script, "edge", "--help", PYTHONPATH=str(lent))
    assert needs.split() == PROJECT["dependencies"]


def test_it_needs_one_package_and_says_one_version():
    assert [re.split(r"\W", need)[0] for need in PROJECT["dependencies"]] == ["websockets"]
    assert PROJECT["version"] == trunkline_client.__version__
    root = PACKAGE.parents[1]
    assert (PACKAGE / "LICENSE").read_text() == (root / "LICENSE").read_text()


def test_the_readme_begins_with_a_program_that_makes_an_agent(monkeypatch):
    names: dict = {"__name__": "readme"}
    exec(SNIPPETS[0], names)
    assert names["agent"].address == "wss://gateway.example/edge/ws?edge_agent_id=edge_15551234567"


async def test_what_the_protocols_page_says_by_hand_acts_once_and_acknowledges_twice(capsys):
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict = {}
    exec(program, names)
    async with EdgeServer() as server:
        running = asyncio.create_task(names["run"](server.url, "edge_1", "secret"))
        visit = await server.visit()
        assert visit.headers["Authorization"] == "Bearer secret"
        await visit.say(command("c1", text="hello"), command("c1", text="hello"))
        assert await visit.acked(2) == [{"command_id": "c1", "status": "completed"}] * 2
        assert {"type": "ping"} in visit.frames
        await visit.socket.close()
        await asyncio.wait_for(running, PATIENCE_S)
    assert capsys.readouterr().out == "note {'text': 'hello'}\n"


@pytest.mark.parametrize(("number", "spelling"), [(1, "additional_headers"), (2, "extra_headers")])
async def test_what_the_readme_says_without_the_package_runs(number, spelling, monkeypatch):
    assert f"{spelling}={{" in SNIPPETS[number] and len(SNIPPETS) == 7
    if spelling == "extra_headers":  # the client that `websockets.connect` was up to version 13
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            from websockets.legacy.client import connect
        monkeypatch.setattr(websockets, "connect", connect)
    names: dict = {}
    exec(SNIPPETS[number], names)
    async with EdgeServer() as server:
        listening = asyncio.create_task(names["listen"](server.url, "edge_1", "secret"))
        visit = await server.visit()
        assert visit.headers["Authorization"] == "Bearer secret"
        await visit.say(command("c1"))
        assert await visit.acked(1) == [{"command_id": "c1", "status": "completed"}]
        await visit.socket.close()
        await asyncio.wait_for(listening, PATIENCE_S)
