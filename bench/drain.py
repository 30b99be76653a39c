"""Many due rows at once, several dispatchers: how quickly they reach their agents, none twice."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg

from bench.fleet import Fleet, cpu_s
from tests.services.agents import Agents

Show = Callable[[str, int, int], None]  # what, done, of

SECONDS_AHEAD = 3.0
PATIENCE_S = 120.0

QUEUE = """
WITH chosen AS (SELECT id, account_id FROM accounts_edgeagent WHERE agent_id LIKE 'drain_%%')
INSERT INTO sessions_app_scheduledcommand (
    id, account_id, agent_id, seq, command_type, payload, size, priority, delivery, status,
    created_by, created_at, deliver_at, idempotency_key, fingerprint, attempts, leases, retries,
    lease_owner, written_to, error
)
SELECT 'cmd_' || md5(chosen.id || ':' || number), account_id, chosen.id, number, 'set_rule',
    '{"thread_id": "t"}', 20, 'normal', 'at_least_once', 'scheduled', 'bench', now(),
    now() + %s * interval '1 second', '', '', 0, 0, 0, '', '', ''
FROM chosen, generate_series(1, %s) AS number
"""
ALL = "FROM sessions_app_scheduledcommand WHERE command_type = 'set_rule'"
COUNTS = f"SELECT COUNT(*), COUNT(*) FILTER (WHERE attempts > 0) {ALL}"
# A lease that lapsed is given anew: this is no second claim.
TWICE = """SELECT COUNT(*) FROM (SELECT command_id FROM sessions_app_commandevent
    GROUP BY 1 HAVING COUNT(*) FILTER (WHERE kind = 'leased')
    - COUNT(*) FILTER (WHERE kind = 'lease_lapsed') > 1) AS twice"""


def measure(
    show: Show,
    environ: Mapping[str, str] | None = None,
    *,
    rows: int,
    agents: int,
    dispatchers: int = 4,
    servers: int = 1,
    acks: Sequence[str] = (),
) -> dict[str, Any]:
    """Figures of one drain; rates in commands per second. `environ`: of a database to be used."""
    with contextlib.ExitStack() as ends:
        fleet = Fleet(ends, environ) if environ else Fleet.with_services(ends)
        gateways = [fleet.serve("--no-dispatcher") for _ in range(servers)]
        names = [f"drain_{number}" for number in range(agents)]
        urls = [gateway.url.replace("http", "ws") for gateway in gateways]
        crowds = [
            Agents([url], names[number::servers], fleet.environ["EDGE_SECRET"], ack=acks)
            for number, url in enumerate(urls)
        ]
        for crowd in crowds:
            ends.callback(crowd.close)
            crowd.start()
        parts = {"gateways": gateways, "dispatchers": fleet.dispatchers(dispatchers)}
        before = {name: cpu_s(part) for name, part in parts.items()}
        with fleet.database() as database:
            database.execute(QUEUE, (SECONDS_AHEAD, rows // agents))
            due_at = time.time() + SECONDS_AHEAD
            total = _until_written(database, show)
        spent = {name: cpu_s(part) - before[name] for name, part in parts.items()}
        seen = [line for crowd in crowds for line in crowd.lines("seen")]
        first = {}
        for line in seen:
            first.setdefault(line.agent, line.at - due_at)
        with fleet.database() as database:
            (twice,) = database.execute(TWICE).fetchone() or (0,)
    took_s = max(line.at for line in seen) - due_at
    times = Counter(line.command for line in seen)
    return {
        "rows": total,
        "dispatchers": dispatchers,
        "claimed twice": twice,
        "seen twice": sum(count > 1 for count in times.values()),
        "missing": total - len(times),
        "seen per s": round(total / took_s),
        "last agent's first, s": round(max(first.values()), 2),
        **{f"CPU ms a row, {name}": round(1000 * s / total, 2) for name, s in spent.items()},
    }


def _until_written(database: psycopg.Connection, show: Show) -> int:
    deadline = time.monotonic() + SECONDS_AHEAD + PATIENCE_S
    while True:
        total, written = database.execute(COUNTS).fetchone() or (0, 0)
        show("drained", written, total)
        if written == total or time.monotonic() > deadline:
            time.sleep(1)  # what was marked last is being written
            return int(total)
        time.sleep(0.5)
