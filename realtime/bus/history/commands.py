"""Commands: what `streams` says to Redis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from realtime.bus.history import scripts
from realtime.bus.history.keeping import Bounds, new_epoch
from realtime.bus.history.once import STANDS_MS, Once
from realtime.bus.history.wire import Command
from realtime.core.addresses import Address
from realtime.core.history import Position

REIGN_KEY = "gw.history"
USED_KEY, SIZES_KEY = f"{REIGN_KEY}.used", f"{REIGN_KEY}.sizes"

_Step = Literal["append", "since"]
_TEXTS: dict[_Step, str] = {"append": scripts.APPEND, "since": scripts.SINCE}


class Commands:
    """`bounds` are the same in every process of a fleet."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._digests: dict[_Step, str] = {}
        self.once = Once(REIGN_KEY)

    def hello(self, broken: Iterable[Address], everything: bool) -> list[Command]:
        """The first words on a connection: what has been said already, and where without a number.

        The claims come before a new epoch begins: nobody numbers in it what was said before it.
        """
        reign = ("EVAL", scripts.REIGN, 1, REIGN_KEY, new_epoch(), int(everything))
        loads = [("SCRIPT", "LOAD", text) for text in _TEXTS.values()]
        keys = [key for address in broken for key in keys_of(address)]
        ended = [("DEL", *keys)] if keys else []
        return [reign, *loads, *self.once.claims(), *ended]

    def greeted(self, answers: Sequence[Any]) -> None:
        """Those to `hello`."""
        self._digests = {
            step: digest.decode() for step, digest in zip(_TEXTS, answers[1:], strict=False)
        }

    def append(self, address: Address, channel: str, packed: bytes, once: str) -> Command:
        size, max_bytes = self._bounds.size, self._bounds.max_bytes
        if not once:
            return self._run("append", address, (), size, max_bytes, channel, packed)
        key = self.once.redis_key(once)
        return self._run("append", address, (key,), size, max_bytes, channel, packed, STANDS_MS)

    def since(self, address: Address, position: Position | None) -> Command:
        epoch, offset = position or ("", "")
        return self._run("since", address, (), epoch, offset)

    def _run(
        self, step: _Step, address: Address, more: tuple[str, ...], *last: str | bytes | int
    ) -> Command:
        bounds = self._bounds
        keys = (*keys_of(address), REIGN_KEY, USED_KEY, SIZES_KEY, *more)
        given = (new_epoch(), _ms(bounds.ttl_s), _ms(bounds.epoch_s), bounds.total_bytes, *last)
        return ("EVALSHA", self._digests[step], len(keys), *keys, *given)


def keys_of(address: Address) -> tuple[str, str]:
    """What is known of it, and its messages."""
    known = f"{REIGN_KEY}.{address.group()}"
    return known, f"{known}.said"


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
