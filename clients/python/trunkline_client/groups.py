"""`GroupClient`: messages to a group, to one client, to everyone, to oneself. See README.md."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlunsplit

from trunkline_client.connection import Door, Timing
from trunkline_client.credentials import Secret, shown
from trunkline_client.live import Failure, LiveClient
from trunkline_client.trail import Trail

SERVER = "server"


@dataclass(frozen=True)
class GroupMessage:
    """A message as the server completes it: one's own to the group come back, too."""

    msg_type: str
    target: str
    from_id: str
    to_id: str | None
    group_id: str | None
    cmd: str | None
    msg: str | None
    payload: Mapping[str, Any]
    sent_at: str
    epoch: str | None = None
    offset: int | None = None


@dataclass(frozen=True)
class Presence(GroupMessage):
    """A message of `msg_type` presence."""

    @property
    def status(self) -> str:
        """`online` or `offline` where the server announces who comes and goes."""
        return str(self.payload.get("status", ""))


class GroupClient(LiveClient[GroupMessage]):
    """One client id in one group, over one connection after another.

    `api_key` and `jwt` may be functions, plain or async; they are asked at each attempt to connect.
    `account` chooses among those that they may use. `queue_max` messages wait for a connection,
    `inbox_max` to be read. `options` go to `websockets`.
    """

    def __init__(
        self,
        url: str,
        group: str,
        client: str,
        *,
        api_key: Secret | None = None,
        jwt: Secret | None = None,
        account: str = "",
        queue_max: int = 1000,
        inbox_max: int = 1000,
        timing: Timing | None = None,
        chance: Callable[[], float] = random.random,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Raises ValueError for a wrong address."""
        if not group or not client:
            raise ValueError("group and client: may not be empty")
        self._path = f"/v3/ws/group/{quote(group, safe='')}/client/{quote(client, safe='')}"
        self._api_key, self._jwt, self._account = api_key, jwt, account
        self._trail = Trail()
        super().__init__(
            f"{client} in {group}",
            url,
            ping={"msg_type": "heartbeat", "target": "echo"},
            renewable=callable(api_key) or callable(jwt),
            queue_max=queue_max,
            inbox_max=inbox_max,
            timing=timing,
            chance=chance,
            options=options,
        )

    async def send_group(self, msg: str, payload: Mapping[str, Any] | None = None) -> None:
        """To the group, oneself included."""
        await self.send("group", msg=msg, payload=payload)

    async def send_direct(
        self, to: str, msg: str, payload: Mapping[str, Any] | None = None
    ) -> None:
        """To every connection of a client id, in whatever group."""
        await self.send("direct", to_id=to, msg=msg, payload=payload)

    async def broadcast(self, msg: str, payload: Mapping[str, Any] | None = None) -> None:
        """To all of the account; it takes role operator."""
        await self.send("broadcast", msg=msg, payload=payload)

    async def echo(self, msg: str, payload: Mapping[str, Any] | None = None) -> None:
        """Back to this connection."""
        await self.send("echo", msg=msg, payload=payload)

    async def cmd(self, cmd: str, payload: Mapping[str, Any] | None = None, to: str = "") -> None:
        """To the group, or to one client."""
        target = "direct" if to else "group"
        await self.send(target, msg_type="cmd", to_id=to or None, cmd=cmd, payload=payload)

    async def send(
        self,
        target: str,
        *,
        msg_type: str = "msg",
        to_id: str | None = None,
        cmd: str | None = None,
        msg: str | None = None,
        payload: Mapping[str, Any] | None = None,
    ) -> None:
        """Any message, now or when connected. Raises QueueFull, Revoked, RuntimeError."""
        said = {"msg_type": msg_type, "target": target, "to_id": to_id, "cmd": cmd, "msg": msg}
        await self._say({**said, "payload": payload or {}})

    # --- the wire ---

    async def _door(self) -> Door:
        """Keys and tokens go into headers, where no proxy logs them."""
        headers = {}
        if self._api_key:
            headers["X-API-Key"] = await shown(self._api_key, self._name)
        if self._jwt:
            headers["Authorization"] = f"Bearer {await shown(self._jwt, self._name)}"
        if self._account:
            headers["X-Account-Id"] = self._account
        since = self._trail.ask()
        asked = {
            "since_epoch": since.epoch if since else "",
            "since_offset": since.offset if since else "",
        }
        parts = self._parts._replace(
            path=self._parts.path.rstrip("/") + self._path,
            query="&".join(filter(None, (self._parts.query, urlencode(asked)))),
            fragment="",
        )
        return Door(urlunsplit(parts), headers)

    async def _greet(self) -> None:
        """The path has said it all."""

    async def _hear(self, frame: Mapping[str, Any]) -> None:
        target, kind = frame.get("target"), frame.get("msg_type")
        # Nobody else's message reaches our echo, whatever they call themselves.
        word = frame.get("cmd") if target == "echo" and frame.get("from_id") == SERVER else None
        if word == "RECOVERED":
            await self._gap(self._trail.answered(_payload(frame)))
        elif word == "ERROR":
            errors = tuple(_payload(frame).get("errors") or ())
            self._fail(Failure(str(frame.get("msg") or ""), errors))
        elif target == "echo" and kind == "heartbeat":
            await self._pong()
        elif target != "group" or await self._is_new(frame):
            await self._inbox.put(_message(frame))

    async def _is_new(self, frame: Mapping[str, Any]) -> bool:
        """Whether it was not heard before; a gap is told of."""
        new, gap = self._trail.heard(frame)
        await self._gap(gap)
        return new

    async def _greeted(self) -> None:
        if self._trail.asked:  # a server that has not answered knows no numbers
            await self._gap(self._trail.answered({}))
        self._trail.settle()


def _payload(frame: Mapping[str, Any]) -> Mapping[str, Any]:
    payload = frame.get("payload")
    return payload if isinstance(payload, dict) else {}


def _message(frame: Mapping[str, Any]) -> GroupMessage:
    made = Presence if frame.get("msg_type") == "presence" else GroupMessage
    return made(
        msg_type=str(frame.get("msg_type", "")),
        target=str(frame.get("target", "")),
        from_id=str(frame.get("from_id", "")),
        to_id=frame.get("to_id"),
        group_id=frame.get("group_id"),
        cmd=frame.get("cmd"),
        msg=frame.get("msg"),
        payload=_payload(frame),
        sent_at=str(frame.get("sent_at", "")),
        epoch=frame.get("epoch"),
        offset=frame.get("offset"),
    )
