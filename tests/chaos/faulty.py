"""`manage.py`, with one fault in it: `python -m tests.chaos.faulty ARGUMENTS`.

FAULT=POINT:N:SIGNAL sends the process a signal at the Nth passing of a point:

claiming   a dispatcher has locked the rows, in a transaction that is still open
claimed    it has leased them; nobody has been told
marked     commands are marked as written; nothing has been written

CLOCK=S: its wall clock is S seconds off; at each SIGUSR1 one hour less.
"""

from __future__ import annotations

import datetime as dt
import functools
import os
import signal
from collections.abc import Callable
from typing import Any

import django


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    if fault := os.environ.get("FAULT"):
        point, number, name = fault.split(":")
        POINTS[point](_Bomb(int(number), signal.Signals[name]))
    if offset := os.environ.get("CLOCK"):
        _set_clock(float(offset))
    import manage

    manage.main()


class _Bomb:
    def __init__(self, number: int, what: signal.Signals) -> None:
        self._left = number
        self._what = what

    def __call__(self) -> None:
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), self._what)


def _after(service: Callable[..., Any], bomb: _Bomb, found: Callable[[Any], Any]) -> Any:
    @functools.wraps(service)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = service(*args, **kwargs)
        if found(result):
            bomb()
        return result

    return wrapped


def _claiming(bomb: _Bomb) -> None:
    from sessions_app.services import claims

    claims._locked = _after(claims._locked, bomb, bool)


def _claimed(bomb: _Bomb) -> None:
    from sessions_app.services import claims

    claims.claim = _after(claims.claim, bomb, bool)


def _marked(bomb: _Bomb) -> None:
    from realtime import dispatch
    from realtime.core.operations import TakeCommands

    take = dispatch.SERVICES[TakeCommands]
    dispatch.SERVICES[TakeCommands] = _after(take, bomb, lambda given: given["commands"])


POINTS = {"claiming": _claiming, "claimed": _claimed, "marked": _marked}


def _set_clock(offset_s: float) -> None:
    import time_machine

    def travel() -> Any:
        # Read anew each time: the clock in force may itself be off.
        moment = dt.datetime.fromtimestamp(true(), dt.UTC) + dt.timedelta(seconds=offset_s)
        traveller = time_machine.travel(moment, tick=True)
        traveller.start()
        return traveller

    def back(*_: object) -> None:
        nonlocal offset_s, current
        current.stop()
        offset_s -= 3600
        current = travel()

    import time

    true = time.time
    current = travel()
    signal.signal(signal.SIGUSR1, back)


if __name__ == "__main__":
    main()
