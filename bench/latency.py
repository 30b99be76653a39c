"""From POST to the agent's frame, and from due to the frame."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import statistics
import time
from collections import defaultdict
from typing import Any

import httpx
from websockets.asyncio.client import connect

from bench.drain import Show
from tests.services import Serve
from tests.services.people import key_of

ALICE = {"Authorization": f"Bearer {key_of('alice')}"}
PATIENCE_S = 30.0


class Watch:
    """Agents in this process; when each command came, in `time.time()` seconds."""

    def __init__(self, server: Serve, names: list[str]) -> None:
        self.server = server
        self.names = names
        self._came: defaultdict[str, asyncio.Future[float]] = defaultdict(asyncio.Future)

    async def live(self, name: str, ready: asyncio.Event) -> None:
        url = f"{self.server.url.replace('http', 'ws')}/edge/ws?edge_agent_id={name}"
        secret = {"Authorization": f"Bearer {self.server.environ['EDGE_SECRET']}"}
        async with connect(url, additional_headers=secret, proxy=None) as socket:
            ready.set()
            async for text in socket:
                frame = json.loads(text)
                if frame["type"] == "command":
                    command = frame["data"]["command_id"]
                    if not self._came[command].done():
                        self._came[command].set_result(time.time())
                    data = {"command_id": command, "status": "completed"}
                    await socket.send(json.dumps({"type": "command_ack", "data": data}))

    @contextlib.asynccontextmanager
    async def at_work(self) -> Any:
        ready = [asyncio.Event() for _ in self.names]
        pairs = zip(self.names, ready, strict=True)
        tasks = [asyncio.create_task(self.live(*pair)) for pair in pairs]
        await asyncio.gather(*[event.wait() for event in ready])
        async with httpx.AsyncClient(base_url=self.server.url, headers=ALICE) as http:
            yield http
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def send(self, http: httpx.AsyncClient, number: int, **fields: Any) -> str:
        asked = {"agent_id": self.names[number % len(self.names)], "command_type": "set_rule"}
        answer = await http.post("/api/edge/commands/", json={**asked, "payload": {}, **fields})
        answer.raise_for_status()
        command: str = answer.json()["command_id"]
        return command

    async def seen(self, command: str) -> float:
        return await asyncio.wait_for(self._came[command], PATIENCE_S)


async def measure(show: Show, server: Serve, *, idle: int, per_s: int, seconds: int) -> Any:
    """Milliseconds, by what was measured."""
    watch = Watch(server, [f"watch_{number}" for number in range(10)])
    async with watch.at_work() as http:
        alone = []
        for number in range(idle):
            began = time.time()
            alone.append(await watch.seen(await watch.send(http, number)) - began)
            show("one at a time", number + 1, idle)

        async def one(number: int) -> float:
            await asyncio.sleep(number / per_s)
            began = time.time()
            return await watch.seen(await watch.send(http, number)) - began

        show(f"{per_s} a second", 0, 1)
        busy = await asyncio.gather(*[one(number) for number in range(per_s * seconds)])
        show("due", 0, 1)
        due = {}
        for number in range(100):
            at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=3)
            due[await watch.send(http, number, deliver_at=at.isoformat())] = at.timestamp()
        late = [await watch.seen(command) - at for command, at in due.items()]
    return {
        "POST to frame, idle": _row(alone),
        f"POST to frame, {per_s}/s": _row(busy),
        "due to frame": _row(late),
    }


def _row(seconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100)
    return {"p50 ms": round(cuts[49] * 1000, 1), "p99 ms": round(cuts[98] * 1000, 1)}
