"""How far a session's log was told, and whether something is missing. PROTOCOLS.md 3.9."""

from __future__ import annotations

from dataclasses import dataclass

KNOWN_MAX = 10_000


@dataclass(frozen=True)
class Resumed:
    """After each reconnect, behind what came meanwhile: how many stored events that were.

    Not `recovered`: something may be missing before the first of them.
    """

    recovered: bool
    missed: int


@dataclass
class _Return:
    missed: int = 0
    whole: bool = True
    awaited: str = ""  # the event that must come again first


class Story:
    """The uuids of the stored events that were told, in their order."""

    def __init__(self, *, after_id: str = "", replay: bool = False, works: bool = False) -> None:
        self._last, self._before = after_id, ""
        self._replay = replay
        self._works = works
        self._known: dict[str, None] = {}
        self._begun = False
        self._return: _Return | None = None

    def ask(self) -> dict[str, str]:
        """What a new connection asks for.

        From the event before the last one: when the last comes again, nothing is missing. A worker
        is told by the server what it has to answer, and asks for nothing before it.
        """
        if self._works:
            return {"after_id": self._last} if self._last else {}
        if self._begun:
            self._return = self._return or _Return()
            # One event alone shows nothing; without any, what comes now may not be all.
            self._return.awaited = (self._before and self._last) if self._last else "all"
        since = self._before or self._last
        if since:
            return {"after_id": since}
        return {"replay": "true"} if self._replay or self._begun else {}

    def heard(self, uuid: str) -> bool:
        """Whether a stored event is new."""
        back = self._return
        if back is not None and uuid == back.awaited:
            back.awaited = ""
        if uuid in self._known:
            return False
        self._known[uuid] = None
        if len(self._known) > KNOWN_MAX:
            del self._known[next(iter(self._known))]
        if back is not None:
            back.missed += 1
            back.whole = back.whole and not back.awaited
        self._before, self._last = self._last, uuid
        return True

    def told(self) -> Resumed | None:
        """All that was stored meanwhile has come; None for the first connection."""
        back, self._return, self._begun = self._return, None, True
        if back is None:
            return None
        return Resumed(back.whole and not (back.awaited and self._last), back.missed)
