"""What travels between processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from realtime.core.history import Position

_pack = msgspec.msgpack.Encoder().encode


@dataclass(slots=True)
class Event:
    """A fact with a name and plain JSON data.

    `after` names an announcement (its row id) that must have been delivered here before: so a
    streamed chunk never overtakes the committed `run.started` that it belongs to.
    `texts` caches the rendering of each protocol: one encoding per process, whatever the audience.
    `verdicts` caches what filters say of it.
    `size` is how many bytes it packs to, once somebody has asked `measured`.
    `position` is its place in the history of the address where it was recorded (`Hub.record`).
    `late`: it has no place in the order of what comes now, of which a gap tells who asked.
    """

    name: str
    data: dict[str, Any] = field(default_factory=dict)
    after: int = 0
    texts: dict[str, str] = field(default_factory=dict, compare=False, repr=False)
    verdicts: dict[str, bool] = field(default_factory=dict, compare=False, repr=False)
    position: Position | None = None
    late: bool = False
    size: int = field(default=0, compare=False, repr=False)

    def rendered(self, key: str, render: Callable[[], str]) -> str:
        """The text under `key`, made by `render` the first time."""
        text = self.texts.get(key)
        if text is None:
            text = self.texts[key] = render()
        return text

    def judged(self, key: str, judge: Callable[[], bool]) -> bool:
        """The verdict under `key`, found by `judge` the first time."""
        verdict = self.verdicts.get(key)
        if verdict is None:
            verdict = self.verdicts[key] = judge()
        return verdict

    def measured(self) -> int:
        """Its `size`, found the first time."""
        self.size = self.size or len(_pack(self.pack()))
        return self.size

    def pack(self) -> dict[str, Any]:
        packed: dict[str, Any] = {"name": self.name, "data": self.data}
        if self.after:
            packed["after"] = self.after
        if self.late:
            packed["late"] = True
        return packed

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> Event:
        event = cls(packed["name"], packed.get("data") or {}, packed.get("after", 0))
        event.late = packed.get("late", False)
        return event


# The house's own events: `Connection` keeps them for itself, except what it passes on as said
# there.
DISCONNECT = "system.disconnect"  # {} the peer's access was revoked
EXPIRES = "system.expires"  # {"at": seconds since the epoch} then what the peer has shown ends
DRAIN = "system.drain"  # {"within_s": float}; passed on to the protocol as its notice
RESYNC = "system.resync"  # {"reason": str}; passed on: live messages may have been missed
NOTICE = "system.notice"  # {"text": str, "by": str}; passed on: an administrator says something
CHANGED = "system.changed"  # {"what": str}; passed on to admin pages: look again
AGENT_HELD = "edge.held"  # {"connection": id} to an agent's sockets: this one holds the agent now
COMMANDS_DUE = "edge.due"  # {} to an agent's sockets: commands have been leased for it
DISPATCH = "edge.dispatch"  # {} to the processes: something may be due, or an agent has come
SESSION_LOGGED = "session.logged"  # {"seq", "frame" or None} to a session: its log has grown
SESSION_SAID = "session.said"  # {"frame", "but"?: connection} to a session: what is not kept
SESSION_ANSWER = "session.answer"  # {"frame"} to a connection: what it has asked in a session
SESSION_WORK = "session.work"  # {"frame"} to a session: for its worker
SESSION_HELD = "session.held"  # {"connection": id} to a session: this one is its worker now
SESSION_GONE = "session.gone"  # {} to a session: it has been deleted
HINT = "system.hint"  # {} to the processes: something has been announced

# How the events of a run end. PROTOCOLS.md 2.7.
RUN_ENDED = frozenset({"run.completed", "run.failed", "run.cancelled"})
