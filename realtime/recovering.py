"""Recovering: a peer gets what it missed at the pace at which it reads, then what is live."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol as Interface

from realtime.bus.history.gate import Gate
from realtime.core.effects import Effect, Recover
from realtime.core.lifecycle import Phase
from realtime.core.protocol import Protocol
from realtime.memberships import Memberships

ROOM_S, ROOM_TIMES = 0.02, 500  # how often it is looked for room for a replay: ten seconds


class Reader(Interface):
    """The connection whose peer recovers."""

    phase: Phase
    protocol: Protocol

    @property
    def queued_bytes(self) -> int: ...

    def slow(self) -> None: ...


async def recover(
    effect: Recover, reader: Reader, memberships: Memberships, perform: Callable[[Effect], None]
) -> None:
    """What was missed, at the pace at which the peer reads; then what was held meanwhile."""
    outcome, gate = await memberships.recover(effect.address, effect.since)
    try:
        for told in reader.protocol.replied(effect.ref, outcome):
            perform(told)
            if not await _room(reader, gate):
                return
    finally:
        gate.open()  # a peer that is gone hears nothing any more


async def _room(reader: Reader, gate: Gate) -> bool:
    """Wait until half of what may wait for the peer is free; False when that is not to be."""
    for _ in range(ROOM_TIMES):
        if reader.phase is Phase.CLOSED:
            return False
        if reader.queued_bytes <= reader.protocol.limits.outbound_max_bytes // 2:
            return True
        if gate.overrun:
            break
        await asyncio.sleep(ROOM_S)
    reader.slow()
    return False
