"""When a disk has no room left."""

from __future__ import annotations

import errno

# The last is what a limit on the size of files gives.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def is_no_room(error: BaseException) -> bool:
    """Whether `error` says that something could not be written for lack of room."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM
