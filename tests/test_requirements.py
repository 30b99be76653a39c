"""The locks: what must not be there, and why."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ["requirements.txt", "requirements-dev.txt", "bin/requirements-uv.txt"]


def entries(lock: str) -> list[str]:
    """Each requirement of a lock with its hashes, on one line, without comments."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if re.match(r"\s*[^#\s]", line)]


def versions(lock: str) -> dict[str, set[Version]]:
    found: dict[str, set[Version]] = {}
    for entry in entries(lock):
        requirement = Requirement(entry.split(" --hash")[0])
        (pin,) = requirement.specifier
        assert pin.operator == "==", entry
        found.setdefault(requirement.name.lower(), set()).add(Version(pin.version))
    return found


@pytest.mark.parametrize(
    ("name", "allowed", "why"),
    [
        ("redis", "<8", "from 8 on, its socket timeout ends idle consumers of channels-redis"),
        ("daphne", ">=4.2.2", "CVE-2026-44545 and CVE-2026-44546"),
        ("pyjwt", ">=2.15", "a run of CVEs of 2026"),
        ("django", ">=5.2.19,<5.3", "the long-term release; later ones need a newer Python"),
    ],
)
@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_the_lock_keeps_a_bound(lock, name, allowed, why):
    bound = Requirement(f"{name}{allowed}").specifier
    for version in versions(lock)[name]:
        assert version in bound, f"{name} {version}: {why}"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_has_a_hash(lock):
    assert entries(lock)
    for entry in entries(lock):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


@pytest.mark.parametrize("file", [*LOCKS, *(lock.replace(".txt", ".in") for lock in LOCKS)])
def test_no_requirement_names_a_place(file):
    text = (ROOT / file).read_text()
    assert not re.search(r"://|index-url|find-links|trusted-host|^-[eif]\b|@ |^\.*/", text, re.M)


def test_the_tools_are_installed_beside_the_very_packages_that_are_served():
    served, tools = versions("requirements.txt"), versions("requirements-dev.txt")
    assert {name: tools.get(name) for name in served} == served


def test_every_package_that_is_served_has_its_licence_noted():
    noted = {name.lower() for name in re.findall(r"^\| ([\w.-]+) \|", licences(), re.MULTILINE)}
    assert noted >= versions("requirements.txt").keys()


def licences() -> str:
    return (ROOT / "LICENSES.md").read_text().replace("_", "-")
