"""Acknowledgements: sent in order, again on each new connection, until the server has read them.

Nothing on this wire answers an acknowledgement. A pong does: the server reads in order, so that it
has read what was sent before the ping. One that is sent again is the same, word for word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from trunkline_client.commands import Ack, frame, received
from trunkline_client.ledger import Ledger, OneThread

BATCH = 100
AGAIN_S = 1.0  # after the server could not keep an acknowledgement


class _Sent:
    """How far one connection has come; a new one has its own."""

    through = 0


class Outbox:
    """`told` is called with each acknowledgement that was written to the socket."""

    def __init__(
        self,
        ledger: Ledger,
        in_thread: OneThread,
        *,
        send: Callable[[str], Awaitable[bool]],
        ping: Callable[[], Awaitable[bool]],
        told: Callable[[Ack], None],
        gather_s: float,
    ) -> None:
        self._ledger = ledger
        self._in_thread = in_thread
        self._write = send
        self._ping = ping
        self._told = told
        self._gather_s = gather_s
        self._sent = _Sent()
        self._some = asyncio.Event()
        self._unread = asyncio.Event()
        self._sending = asyncio.Lock()

    def wake(self) -> None:
        """There may be an acknowledgement to send."""
        self._some.set()

    def opened(self) -> None:
        """A new connection: on it nothing has been sent."""
        self._sent = _Sent()
        self._some.set()

    def missed(self) -> None:
        """The server is there and could not keep what was said: say it again, a little later."""
        self._sent = _Sent()
        asyncio.get_running_loop().call_later(AGAIN_S, self._some.set)

    async def repeat(self, command_id: str) -> None:
        """A command came again: say what the server seems to have missed."""
        said = await self._in_thread(self._ledger.said, command_id)
        if not said:
            await self._say(received(command_id))
        for confirmed, ack in said:
            if confirmed:  # the others are on their way
                await self._say(ack)

    async def send(self) -> None:
        """Until cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            await self._send_all()

    async def confirm(self) -> None:
        """Until cancelled: one ping for all that was sent in `gather_s`."""
        while True:
            await self._unread.wait()
            await asyncio.sleep(self._gather_s)
            self._unread.clear()
            await self._confirm_sent()

    async def settle(self) -> None:
        """Send all there is and have it confirmed, if there is a connection."""
        await self._send_all()
        await self._confirm_sent()

    async def _send_all(self) -> None:
        async with self._sending:
            mine = self._sent
            while batch := await self._in_thread(self._ledger.acks, mine.through, BATCH):
                for number, ack in batch:
                    if mine is not self._sent or not await self._say(ack):
                        return
                    mine.through = number
                self._unread.set()

    async def _confirm_sent(self) -> None:
        # Nothing may be awaited between here and the ping.
        mine, through = self._sent, self._sent.through
        if through and await self._ping() and mine is self._sent:
            await self._in_thread(self._ledger.confirm, through)

    async def _say(self, ack: Ack) -> bool:
        written = await self._write(frame("command_ack", ack))
        if written:
            self._told(ack)
        return written
