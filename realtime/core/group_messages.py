"""WS_Message_V3, what 003 says, and where it goes. Source: PROTOCOLS.md 4.3, 4.4, 4.6."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, Literal

import msgspec

from realtime.core import ids
from realtime.core.errors import MalformedFrame

NAME = "aether"  # the protocol's: its column, its realms, its presence

# To the peers of 003: {"message": a whole WS_Message_V3}.
MESSAGE = "aether.message"
PRESENCE = "aether.presence"  # as MESSAGE; whoever it is about does not hear it

SERVER = "server"  # who says what no client says
VERSION = "3"

UNWRAPPED = (
    "msg_type and target are required, this looks like a V2 message: wrap it as"
    ' {"msg_type":"msg","target":"group","msg":"<the text>","payload":{<all other fields>}}'
)
TAKES = {
    "msg_type": "one of msg, cmd, heartbeat, presence (required)",
    "target": "one of direct, group, broadcast, echo (required)",
    "to_id": "a text",
    "cmd": "a text",
    "msg": "a text",
    "payload": "an object",
}
_FIELD = re.compile(r"`\$\.(\w+)|required field `(\w+)`")


class Said(msgspec.Struct, frozen=True):
    """What a client may say of a message; whatever else it sends is dropped."""

    msg_type: Literal["msg", "cmd", "heartbeat", "presence"]
    target: Literal["direct", "group", "broadcast", "echo"]
    to_id: str | None = None
    cmd: str | None = None
    msg: str | None = None
    payload: dict[str, Any] = {}  # msgspec makes a new one for each


def read(value: Any) -> Said:
    """A decoded message. Raises MalformedFrame, its `details` naming each fault and its field."""
    if not isinstance(value, dict):
        raise _faulty("a message is a JSON object")
    if "msg_type" not in value and "target" not in value:
        raise _faulty(UNWRAPPED, "msg_type", "target")
    try:
        said = msgspec.convert(value, Said)
    except msgspec.ValidationError as error:
        found = _FIELD.search(str(error))
        if found is None:
            raise _faulty(str(error)) from None
        field = found[1] or found[2]
        raise _faulty(f"{field} takes {TAKES[field]}", field) from None
    if said.target == "direct" and not 1 <= len(said.to_id or "") <= ids.MAX_LENGTH:
        raise _faulty(f"target direct takes a to_id of 1 to {ids.MAX_LENGTH} characters", "to_id")
    return said


def _faulty(words: str, *fields: str) -> MalformedFrame:
    errors = [{"field": field, "message": words} for field in fields]
    return MalformedFrame(f"message not routed: {words}", details={"errors": errors})


def complete(
    said: Said, *, from_id: str, group_id: str | None, now: float, to_id: str | None = None
) -> dict[str, Any]:
    """The message as receivers get it: what the server knows is overwritten, what is unset is null.

    `now` in seconds since the epoch; `to_id` where the server addresses it.
    """
    return {
        "version": VERSION,
        "msg_type": said.msg_type,
        "target": said.target,
        "from_id": from_id,
        "to_id": said.to_id if to_id is None else to_id,
        "group_id": group_id,
        "cmd": said.cmd,
        "msg": said.msg,
        "payload": said.payload,
        "sent_at": dt.datetime.fromtimestamp(now, dt.UTC).isoformat(timespec="microseconds"),
    }


def presence(client_id: str, group_id: str, *, online: bool, now: float) -> dict[str, Any]:
    """The announcement of 4.5."""
    status = {"status": "online" if online else "offline"}
    said = Said(msg_type="presence", target="group", payload=status)
    return complete(said, from_id=client_id, group_id=group_id, now=now)


def realm(account: str) -> str:
    """Groups, clients and broadcasts of one account: none of another's can be named in it."""
    return f"{NAME}:{account}"


def place(group_id: str) -> str:
    """Where the clients of a group count as present."""
    return f"{NAME}:{group_id}"


def group_of(place: str) -> str:
    return place.removeprefix(f"{NAME}:")
