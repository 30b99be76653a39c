"""What the server's side says in 003: to a group, or to one client. Source: PROTOCOLS.md 4.3, 4.4.

It goes by way of the outbox, so that REST, admin and commands of any process reach the clients of
all. Like every message of 003 it is for those who are connected.
"""

from __future__ import annotations

import time
from typing import Any

from django.db import transaction

from accounts.services import scopes
from realtime.bus.announce import announce, announce_recorded
from realtime.core import addresses, ids, wire
from realtime.core import group_messages as messages
from realtime.core.errors import FrameTooLarge
from realtime.core.events import Event
from realtime.core.limits import MAX_FRAME_BYTES
from realtime.core.principal import Principal

MAX_BYTES = MAX_FRAME_BYTES[messages.NAME]


@transaction.atomic
def tell_group(*, principal: Principal, group_id: str, said: dict[str, Any]) -> dict[str, Any]:
    """Say it to a group of the caller's account; the message as its clients get it.

    Raises RoleTooLow, NotFound, MalformedFrame, FrameTooLarge.
    """
    ids.check("group_id", group_id)
    group = addresses.group(messages.realm(principal.account), group_id)
    message = _message(principal, {**said, "target": "group", "to_id": None}, group_id=group_id)
    announce_recorded(group, Event(messages.MESSAGE, {"message": message}))
    return message


@transaction.atomic
def tell_client(*, principal: Principal, client_id: str, said: dict[str, Any]) -> dict[str, Any]:
    """Say it to one client id of the caller's account, in whatever group. Raises as `tell_group`.

    It names no group: the server is in none.
    """
    ids.check("client_id", client_id)
    client = addresses.client(messages.realm(principal.account), client_id)
    direct = {**said, "target": "direct", "to_id": client_id}
    message = _message(principal, direct, group_id=None)
    announce(client, Event(messages.MESSAGE, {"message": message}))
    return message


def _message(principal: Principal, said: dict[str, Any], *, group_id: str | None) -> dict[str, Any]:
    scopes.require_writing(principal, "a message to groups and clients")
    wire.check(said)
    frame = messages.read({"msg_type": "msg", **said})
    message = messages.complete(frame, from_id=messages.SERVER, group_id=group_id, now=time.time())
    if len(wire.encode(message).encode()) > MAX_BYTES:
        raise FrameTooLarge(f"a message takes {MAX_BYTES} bytes")
    return message
