"""The files behind the rows, in Django's storage `media`; what is deleted there goes here too."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import Storage, storages
from django.db import transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver

from realtime.core.errors import GatewayError, StorageFull, Unavailable
from realtime.core.room import is_no_room
from sessions_app.models import Media

logger = structlog.get_logger("gateway")


def storage() -> Storage:
    return storages["media"]


@contextmanager
def storing() -> Iterator[None]:
    """Word what a storage may raise. Raises StorageFull, Unavailable."""
    try:
        yield
    except GatewayError:
        raise
    except Exception as error:
        if is_no_room(error):
            raise StorageFull from error
        logger.error("media.storage_failed", exc_info=error)
        raise Unavailable("the media storage does not answer") from error


def open_file(row: Media) -> File[Any]:
    """The content of an upload. Raises FileNotFoundError, Unavailable."""
    try:
        return storage().open(row.stored_as, "rb")
    except FileNotFoundError:
        logger.error("media.file_missing", media=row.pk)
        raise
    except Exception as error:
        logger.error("media.storage_failed", exc_info=error)
        raise Unavailable("the media storage does not answer") from error


def remove(stored_as: str) -> bool:
    """Delete a file if it is there; False, and a line in the log, when the storage fails."""
    try:
        storage().delete(stored_as)
    except Exception as error:
        logger.error("media.file_left", stored_as=stored_as, exc_info=error)
        return False
    return True


@receiver(post_delete, sender=Media)
def _row_deleted(sender: Any, instance: Media, **kwargs: Any) -> None:
    transaction.on_commit(lambda: remove(instance.stored_as))


def sweep_unfinished(older_than_s: float) -> int:
    """Delete what a killed process left where uploads are received; how many files."""
    gone = 0
    for path in Path(settings.FILE_UPLOAD_TEMP_DIR).iterdir():
        try:
            if path.stat().st_mtime < time.time() - older_than_s:
                path.unlink()
                gone += 1
        except FileNotFoundError:
            continue  # its own process, or another one's sweep, was quicker
    return gone
