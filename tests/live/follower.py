"""Clients of 003 and 004 that come back, written from the documents' "Coming back" alone; and a
judge of what they have at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.live.member import url_of
from tests.services import Serve
from tests.services.people import key_of

PATIENCE_S = 30.0

Said = tuple[str, int]  # who has said it, and their how manieth it is


class Gap:
    """The follower was told that something may be missing here."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __repr__(self) -> str:
        return f"Gap({self.why})"


class Follower:
    """`at` is the last epoch and offset that came; `got` what came, with the gaps told of.

    `recovered` counts what came by replays. What the server says without a number is said by each
    process for itself, when it comes to it: twice for who changes between them, and behind newer
    words on one that was stopped. It is left out of what is judged; that a gap was told is not.
    """

    def __init__(self) -> None:
        self.at: tuple[str, int] | None = None
        self.began = False
        self.got: list[Said | Gap] = []
        self.recovered = 0
        self.answers: list[dict[str, Any]] = []

    async def stay(self, server: Serve, until: Callable[[], bool], within_s: float) -> None:
        """Follow on one process until something is true, or the socket ends."""
        async with asyncio.timeout(PATIENCE_S):
            socket = await self.arrive(server)
        try:
            async with asyncio.timeout(within_s):
                while not until():
                    with contextlib.suppress(TimeoutError):
                        # Not `wait_for`: in Python 3.11 it loses a cancellation.
                        async with asyncio.timeout(0.05):
                            text = await socket.recv()
                        self.hear(json.loads(text))
        except (TimeoutError, ConnectionClosed):
            pass
        finally:
            await socket.close()

    async def arrive(self, server: Serve) -> ClientConnection:
        raise NotImplementedError

    def hear(self, frame: dict[str, Any]) -> None:
        raise NotImplementedError

    def told(self, answer: dict[str, Any]) -> None:
        """`recovered`, `reason`, `epoch`, `offset`."""
        self.answers.append(answer)
        before = self.at
        if before is None or not answer["recovered"]:  # else what it announces has still to come
            self.at = (answer["epoch"], answer["offset"]) if "epoch" in answer else None
        if not answer["recovered"]:
            self.got.append(Gap(answer["reason"]))
        elif before is None and self.began:
            self.got.append(Gap("it had no place to come back to"))
        elif before is not None:
            self.recovered += answer["offset"] - before[1]
        self.began = True

    def heard(self, said: Said, epoch: str | None, offset: int | None) -> None:
        if offset is None:
            self.got.append(Gap("without a number"))
            self.at = None
            if said[0] == "server":
                return
        elif self.at is None or (epoch or self.at[0]) != self.at[0]:
            self.got.append(Gap("another epoch"))
            self.at = (epoch or "", offset)
        else:
            self.at = (self.at[0], offset)
        self.got.append(said)

    def newest(self, who: str) -> int:
        """How far it has heard of somebody; -1: nothing."""
        return max(
            (said[1] for said in self.got if isinstance(said, tuple) and said[0] == who), default=-1
        )


class TopicFollower(Follower):
    channel: ClassVar[str] = "big"

    def __init__(self, token: str) -> None:
        super().__init__()
        self.token = token

    async def arrive(self, server: Serve) -> ClientConnection:
        url = server.url.replace("http", "ws") + f"/nexus/ws?token={self.token}"
        socket = await connect(url, proxy=None, open_timeout=PATIENCE_S, close_timeout=0.2)
        since = {"epoch": self.at[0], "offset": self.at[1]} if self.at else None
        ask = {"action": "subscribe", "channel": self.channel, "since": since}
        await socket.send(json.dumps(ask))
        return socket

    def hear(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "subscribed":
                self.told(frame)
            case "message" | "broadcast":
                data = frame["data"]
                self.heard((data["who"], data["n"]), frame.get("epoch"), frame.get("offset"))


class GroupFollower(Follower):
    group: ClassVar[str] = "big"

    def __init__(self, who: str, client: str) -> None:
        super().__init__()
        self.who, self.client = who, client

    async def arrive(self, server: Serve) -> ClientConnection:
        epoch, offset = self.at or ("", "")
        since = {"since_epoch": str(epoch), "since_offset": str(offset)}
        url = url_of(server, self.group, self.client, api_key=key_of(self.who), **since)
        return await connect(url, proxy=None, open_timeout=PATIENCE_S, close_timeout=0.2)

    def hear(self, frame: dict[str, Any]) -> None:
        if frame["cmd"] == "RECOVERED":
            self.told(frame["payload"])
        elif frame["target"] == "group":
            said = frame["payload"]
            if frame["msg_type"] == "presence":
                said = {"who": "presence", "n": self.newest("presence") + 1}
            self.heard((said["who"], said["n"]), frame.get("epoch"), frame.get("offset"))


def faults(got: Iterable[Said | Gap]) -> list[str]:
    """Doubles, what is out of order, and holes of which nobody was told."""
    found: list[str] = []
    last: dict[str, int] = {}
    told: dict[str, bool] = {}
    for one in got:
        if isinstance(one, Gap):
            told = dict.fromkeys(last, True)
            continue
        who, number = one
        before = last.get(who, number - 1)
        if number <= before:
            found.append(f"{who} {number} after {before}")
        elif number > before + 1 and not told.get(who):
            found.append(f"{who}: nobody told of a gap between {before} and {number}")
        last[who], told[who] = max(before, number), False
    return found


def holes(got: Iterable[Said | Gap], who: str) -> list[tuple[int, int]]:
    """What of somebody's words is missing between the first and the last heard."""
    numbers = [one[1] for one in got if isinstance(one, tuple) and one[0] == who]
    pairs = zip(numbers, numbers[1:], strict=False)
    return [(before + 1, after - 1) for before, after in pairs if after > before + 1]


async def eventually(condition: Callable[[], bool], what: str, within_s: float = 40.0) -> None:
    deadline = asyncio.get_running_loop().time() + within_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, what
        await asyncio.sleep(0.02)
