"""Who goes and comes back, and somebody who speaks; at two addresses."""

from __future__ import annotations

from realtime.core import addresses
from realtime.core.events import RESYNC, Event
from realtime.core.history import (
    Recovered,
)

TEAM, OTHER = addresses.topic("nexus:a", "team ü"), addresses.topic("nexus:a", "other")


class Subscriber:
    """Goes, and comes back to recover; keeps what a client would have at the end."""

    def __init__(self, hub):
        self.hub = hub
        self.last = None
        self.heard = []
        self.gaps = []
        self.resyncs = 0

    def hear(self, event):
        if event.name == RESYNC:
            self.resyncs += 1
            return
        at = event.position
        if at is not None and self.last is not None:
            follows = (self.last.epoch, self.last.offset + 1)
            if at != follows:
                self.gaps.append((self.last, at))
        self.last = at or self.last
        self.heard.append(event.data["text"])

    async def come(self, hub=None):
        self.hub = hub or self.hub
        outcome, gate = await self.hub.recover(TEAM, self.hear, self.last)
        if isinstance(outcome, Recovered):
            for event in outcome.events:
                self.hear(event)
        else:
            self.gaps.append(outcome.reason)
        self.last = outcome.position or self.last
        gate.open()
        return outcome

    async def go(self):
        await self.hub.leave(TEAM, self.hear)


def say(hub, *texts, address=TEAM):
    for text in texts:
        hub.record(address, Event("said", {"text": text}))
