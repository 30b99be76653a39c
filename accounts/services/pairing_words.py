"""Pairings in the words of the wire: PROTOCOLS.md 2.6. Times in milliseconds since the epoch."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from accounts.models import MAX_ID, Pairing
from realtime.core.errors import InvalidParams

_SENDER_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._:@-]{0,127}\Z")


def paired(row: Pairing) -> dict[str, Any]:
    return {
        "sender_id": row.sender_id,
        "channel": row.channel,
        "chat_id": row.chat_id,
        "paired_at": _ms(row.decided_at or row.created_at),
        "paired_by": row.approved_by,
        **_metadata(row),
    }


def pending(row: Pairing) -> dict[str, Any]:
    return {
        "code": row.code,
        "sender_id": row.sender_id,
        "channel": row.channel,
        "chat_id": row.chat_id,
        "account_id": row.account_key,
        "created_at": _ms(row.created_at),
        "expires_at": _ms(row.expires_at),
        **_metadata(row),
    }


def _metadata(row: Pairing) -> dict[str, Any]:
    shown = {"user_id": row.user_id, "address": row.address, "user_agent": row.user_agent}
    metadata = {**row.metadata, **{key: value for key, value in shown.items() if value}}
    return {"metadata": metadata} if metadata else {}


def _ms(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1000)


def is_sender_id(text: str) -> bool:
    return _SENDER_ID.match(text) is not None


def check_sender_id(sender_id: str) -> None:
    if not is_sender_id(sender_id):
        raise InvalidParams("invalid sender_id format")


def check_user_id(user_id: str) -> None:
    if len(user_id) > MAX_ID or "\x00" in user_id:
        raise InvalidParams(f"user_id takes at most {MAX_ID} characters")


def check_readable(name: str, value: str) -> None:
    """For what an administrator is asked to approve: it must not read as something else."""
    if printable(value) != value:
        raise InvalidParams(f"{name} takes printable characters only")


def printable(text: str) -> str:
    """Without control and direction characters, which could disguise what an admin reads."""
    return "".join(char for char in text if char.isprintable())
