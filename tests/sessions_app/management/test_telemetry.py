"""`manage.py telemetry`: what is measured, and that it is published as `publish` does."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from realtime.core import addresses
from sessions_app.management.commands import telemetry
from sessions_app.services.machine import Machine

NUMBERS = {"cpu", "load_1m", "memory", "memory_used_mb", "uptime_s"}


def run(*arguments: str) -> dict:
    out = StringIO()
    call_command("telemetry", *arguments, "--json", stdout=out)
    result: dict = json.loads(out.getvalue())
    return result


def test_it_publishes_so_many_times_on_the_topic_of_an_account(accounts, told):
    assert run("--count", "2", "--every", "0.01") == {"channel": "telemetry", "published": 2}
    run("--count", "1", "--channel", "c", "--account", "other")
    heard = told("nexus.broadcast")
    assert [targets for targets, _ in heard] == [
        *[[addresses.topic("nexus:default", "telemetry")]] * 2,
        [addresses.topic("nexus:other", "c")],
    ]
    for _, event in heard:
        data = event.data["data"]
        assert data.keys() == NUMBERS | {"host"}
        assert all(type(data[name]) in (int, float) for name in NUMBERS)
        assert 0 <= data["cpu"] <= 100 and 0 < data["memory"] <= 100 and data["uptime_s"] > 0


def test_it_goes_on_until_it_is_interrupted(accounts, told, monkeypatch):
    waited = []

    def wait(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(telemetry.time, "sleep", wait)
    assert run() == {"channel": "telemetry", "published": 3}
    assert waited == [5.0, 5.0, 5.0]
    assert len(told()) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--every", "0"], "every"),
        (["--every", "nan"], "every"),
        (["--every", "inf"], "every"),
        (["--count", "0"], "count"),
        (["--channel", "agent.x"], "no publishing"),
        (["--account", "nowhere"], "account not found"),
    ],
)
def test_it_says_what_is_wrong(accounts, told, arguments, words):
    with pytest.raises(CommandError, match=words):
        run(*arguments)
    assert told() == []


def proc(folder: Path, cpu: str) -> Path:
    (folder / "stat").write_text(f"cpu  {cpu}\ncpu0 1 2 3\n")
    (folder / "meminfo").write_text(
        "MemTotal:        2048000 kB\nMemFree:  1 kB\nMemAvailable:    1536000 kB\nHugePages: 0\n"
    )
    (folder / "uptime").write_text("3600.99 100.00\n")
    return folder


def test_the_load_is_that_of_the_time_in_between(tmp_path):
    machine = Machine(proc(tmp_path, "50 0 25 20 5 0 0 0 999 999"))
    first = machine.read()
    assert (first["cpu"], first["memory"], first["memory_used_mb"]) == (75.0, 25.0, 500)
    assert first["uptime_s"] == 3600
    proc(tmp_path, "60 0 25 110 5 0 0 0 999 999")
    assert machine.read()["cpu"] == 10.0
    assert machine.read()["cpu"] == 0.0, "no time has passed"
