"""Where a message can go, and the only maker of channel-layer group names.

Realms keep protocols and tenants apart: `goclaw:<account>`, `system`, ….
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple


class Address(NamedTuple):
    """A target: `kind` is client, group, topic, session, place or everyone; `key` is free text."""

    kind: str
    realm: str
    key: str = ""

    def group(self) -> str:
        """The channel-layer name: hashed, because Channels allows ASCII letters, digits, `-_.` and
        under 100 characters, while ids are free text."""
        text = "\x1f".join(self)
        return "gw." + hashlib.blake2s(text.encode(), digest_size=20).hexdigest()

    def pack(self) -> list[str]:
        return list(self)

    @classmethod
    def unpack(cls, packed: Sequence[str]) -> Address:
        kind, realm, key = packed
        return cls(kind, realm, key)


def client(realm: str, key: str) -> Address:
    return Address("client", realm, key)


def group(realm: str, key: str) -> Address:
    return Address("group", realm, key)


def topic(realm: str, key: str) -> Address:
    return Address("topic", realm, key)


def session(realm: str, key: str) -> Address:
    return Address("session", realm, key)


def everyone(realm: str) -> Address:
    return Address("everyone", realm)


# The house's own realm; peers never publish to it.
SYSTEM = "system"


def node(node_id: str) -> Address:
    """One process of the fleet."""
    return client(SYSTEM, f"node:{node_id}")


def nodes() -> Address:
    """The processes of the fleet themselves; no peer is a member."""
    return group(SYSTEM, "nodes")


def handle(name: str) -> Address:
    """Everyone who lives on one revocable thing: a name from `Principal.handles`."""
    return client(SYSTEM, name)


def connection(connection_id: str) -> Address:
    """One accepted connection."""
    return handle(f"connection:{connection_id}")


def user(account: str, user_id: str) -> Address:
    """A person's sockets that are not an administrator's (those are at `admins`)."""
    return client(f"account:{account}", user_id)


def admins(account: str) -> Address:
    """The sockets of an account's administrators, who see all of their account."""
    return group(f"account:{account}", "admins")


def pages(account: str) -> Address:
    """The open admin pages of an account's administrators; see `every_page`."""
    return group(f"account:{account}", "pages")


def every_page() -> Address:
    """The open admin pages of superusers, who see every account."""
    return group(SYSTEM, "pages")


def deciders(account: str) -> list[Address]:
    """All of an account's administrators: their sockets, their open pages, those of superusers."""
    return [admins(account), pages(account), every_page()]


def agent(account: str, agent_id: str) -> Address:
    """The sockets of one edge agent; at most one of them holds it."""
    return client(f"edge:{account}", agent_id)


def place(account: str, protocol: str, where: str) -> Address:
    """Where peers of one protocol count as present."""
    return Address("place", f"{protocol}:{account}", where)


def dispatchers() -> Address:
    """Whoever leases due commands to connected agents."""
    return group(SYSTEM, "dispatchers")


def logs(account: str) -> Address:
    """Who follows the log lines of an account."""
    return topic(f"account:{account}", "logs")
