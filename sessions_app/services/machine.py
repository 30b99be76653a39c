"""How the machine is doing: what `manage.py telemetry` publishes. Source: proc(5)."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

WAITING = slice(3, 5)  # `idle` and `iowait` of the first line of /proc/stat


class Machine:
    """Read again and again; `cpu` is of the time in between, at first of all since the start."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._busy = self._total = 0

    def read(self) -> dict[str, Any]:
        """Percentages are 0 to 100; all but `host` are numbers, at the top level for filters."""
        memory = self._memory()
        used = memory["MemTotal"] - memory["MemAvailable"]
        return {
            "host": socket.gethostname(),
            "cpu": self._cpu(),
            "load_1m": round(os.getloadavg()[0], 2),
            "memory": round(100 * used / memory["MemTotal"], 1),
            "memory_used_mb": used // 1024,
            "uptime_s": int(float((self._proc / "uptime").read_text().split()[0])),
        }

    def _cpu(self) -> float:
        fields = (self._proc / "stat").read_text().splitlines()[0].split()[1:9]
        times = [int(field) for field in fields]  # the rest are parts of the first ones
        total, busy = sum(times), sum(times) - sum(times[WAITING])
        passed, worked = total - self._total, busy - self._busy
        self._total, self._busy = total, busy
        return round(100 * worked / passed, 1) if passed else 0.0

    def _memory(self) -> dict[str, int]:
        """In kibibytes."""
        lines = (self._proc / "meminfo").read_text().splitlines()
        return {name: int(value.split()[0]) for name, value in (one.split(":") for one in lines)}
