"""Uploads: taken in, found again, attached to messages. Source: PROTOCOLS.md 2.11.

A row is reserved, then the file is written, then the row is ready: whatever is broken off in
between leaves a row that says what to take away.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.db.models import Sum
from django.db.models.functions import Now

from accounts.models import Account
from accounts.services import scopes
from realtime.core.errors import Conflict, InvalidParams, NotFound, ResourceExhausted
from realtime.core.principal import Principal
from sessions_app.models import Media
from sessions_app.models.media import new_media_id
from sessions_app.services import media_files, media_images, media_links, media_types
from sessions_app.services.fields import NAME_LENGTH, check_length
from sessions_app.services.media_links import Link
from sessions_app.services.media_names import shown_name

BAD_FORM = "file too large or invalid multipart form"
MOST_ATTACHED = 10
LEFT_BEHIND = dt.timedelta(hours=1)
_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*", re.ASCII)
_LONGEST_ID = 32


def may_upload(principal: Principal) -> None:
    """Raises RoleTooLow, InvalidParams."""
    scopes.require(principal, "operator", "media upload")
    if not principal.id and not principal.is_admin:
        raise InvalidParams("user_id is required")
    check_length(principal.id, "user_id", NAME_LENGTH)


def store(*, principal: Principal, filename: str, file: UploadedFile[Any]) -> Media:
    """Take in one file, which is moved or read to its end.

    Raises RoleTooLow, InvalidParams, UnsupportedMedia, ResourceExhausted (quota), StorageFull,
    Unavailable (storage).
    """
    may_upload(principal)
    name, size = shown_name(filename), file.size or 0
    if size > settings.MEDIA_MAX_BYTES:
        raise InvalidParams(BAD_FORM)
    file.seek(0)
    of = media_types.recognise(filename=name, head=file.read(media_types.HEAD_BYTES))
    width, height = media_images.size_of(file, of.mime_type) or (None, None)
    row = _reserve(principal, filename=name, of=of, size=size, width=width, height=height)
    try:
        file.seek(0)
        file.content_type = of.mime_type  # the part's own word is not passed on
        with media_files.storing():
            media_files.storage().save(row.stored_as, file)
        _finish(row)
    except BaseException:
        _take_away(row)
        raise
    return row


@transaction.atomic
def _reserve(principal: Principal, *, of: media_types.Type, size: int, **fields: Any) -> Media:
    # One at a time in the account: two uploads must not both find the last room.
    accounts = Account.objects.select_for_update(no_key=True)
    account = accounts.filter(slug=principal.account).first()
    if account is None:
        raise NotFound(f"account not found: {principal.account}")
    used = account.media.filter(owner=principal.id).aggregate(sum=Sum("size"))["sum"] or 0
    allowed = settings.MEDIA_QUOTA_BYTES
    if allowed and used + size > allowed:
        raise ResourceExhausted(
            f"media quota exceeded: {used} of {allowed} bytes are used, the file has {size}",
            details={"used": used, "allowed": allowed},
        )
    media_id = new_media_id()
    return Media.objects.create(
        id=media_id,
        account=account,
        owner=principal.id,
        mime_type=of.mime_type,
        kind=of.kind,
        size=size,
        stored_as=f"{media_id[:2]}/{media_id}",
        **fields,
    )


def _finish(row: Media) -> None:
    if not Media.objects.filter(pk=row.pk).update(ready_at=Now()):
        raise Conflict("the upload was deleted before it was complete")
    row.refresh_from_db(fields=["ready_at"])


def _take_away(row: Media) -> bool:
    """The file first: a row without one is found again, a file without a row never."""
    if not media_files.remove(row.stored_as):
        return False
    Media.objects.filter(pk=row.pk).delete()
    return True


def find(*, principal: Principal, media_id: str) -> Media:
    """A ready upload of the caller, or of the account for its administrators.

    Raises RoleTooLow, and NotFound alike for what is foreign and what does not exist.
    """
    scopes.require(principal, "viewer", "media")
    return _visible(principal, [media_id])[0]


def linked(*, media_id: str, ft: str) -> Media:
    """The upload that a signed link opens. Raises RoleTooLow, NotFound."""
    media_links.check(media_id, ft)
    row = Media.objects.filter(pk=media_id, ready_at__isnull=False).first()
    if row is None:
        raise _not_found(media_id)
    return row


def link(*, principal: Principal, media_id: str) -> Link:
    """A signed link for whoever may see the upload. Raises as `find` does."""
    return media_links.sign(find(principal=principal, media_id=media_id).pk)


def attached(*, principal: Principal, media: Iterable[dict[str, str]]) -> list[Media]:
    """The uploads that a message names, in its order: ids and nothing else, which the caller may
    see. Raises InvalidParams, NotFound.
    """
    named = [entry.get("path", "") for entry in media]
    if not all(named):
        raise InvalidParams("media path is required")
    if len(named) > MOST_ATTACHED:
        raise InvalidParams(f"media takes at most {MOST_ATTACHED} files")
    return _visible(principal, named)


def tagged(message: str, rows: Iterable[Media]) -> str:
    """The text of a message with a line for each upload, for people and agents that see only it."""
    lines = [message] if message.strip() else []
    return "\n".join([*lines, *[f"[{row.kind}: {row.filename}]" for row in rows]])


def sweep() -> int:
    """Take away what a killed process left unfinished an hour ago; how many rows."""
    media_files.sweep_unfinished(LEFT_BEHIND.total_seconds())
    left = Media.objects.filter(ready_at=None, created_at__lt=Now() - LEFT_BEHIND)
    return sum(_take_away(row) for row in left)


def _visible(principal: Principal, ids: list[str]) -> list[Media]:
    rows = Media.objects.filter(account__slug=principal.account, ready_at__isnull=False)
    if not principal.is_admin:  # what belongs to nobody is not for others without a name
        rows = rows.filter(owner=principal.id).exclude(owner="")
    wellformed = [one for one in ids if len(one) <= _LONGEST_ID and _ID.fullmatch(one)]
    found = rows.in_bulk(wellformed)
    for one in ids:
        if one not in found:
            raise _not_found(one)
    return [found[one] for one in ids]


def _not_found(media_id: str) -> NotFound:
    return NotFound(f"media not found: {media_id[:100]}")
