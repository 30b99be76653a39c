"""Real services for tests: Redis, PostgreSQL, nginx, the gateway, and a network that misbehaves.

`plugin.py` is the pytest plugin with the fixtures; the rest are plain handles that need no pytest.
"""

from __future__ import annotations

from tests.services.faults import FaultProxy
from tests.services.gateway import Dispatcher, Runserver, Serve, StockUvicorn, run_command
from tests.services.given import Given
from tests.services.nginx import Nginx
from tests.services.postgres import Postgres
from tests.services.process import Service, Unavailable, free_port, until
from tests.services.redis import Redis

__all__ = [
    "Dispatcher",
    "FaultProxy",
    "Given",
    "Nginx",
    "Postgres",
    "Redis",
    "Runserver",
    "Serve",
    "Service",
    "StockUvicorn",
    "Unavailable",
    "free_port",
    "run_command",
    "until",
]
