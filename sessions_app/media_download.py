"""One upload as an HTTP response: ranges, and headers that keep its content from doing harm."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

from django.core.files.base import File
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.cache import get_conditional_response
from django.utils.http import content_disposition_header

from realtime.core.errors import NotFound, RangeRefused
from realtime.threads import reading
from sessions_app.models import Media
from sessions_app.services import media_files, media_types

CHUNK_BYTES = 64 * 1024
HEADERS = {
    "Cache-Control": "private, max-age=86400",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Accept-Ranges": "bytes",
}
# Other units, several ranges and nonsense are not heeded: the whole is a legal answer to them.
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)


def respond(request: HttpRequest, row: Media) -> HttpResponseBase:
    """The whole content, a part of it, or 304. Raises NotFound, RangeRefused, Unavailable."""
    etag = f'"{row.pk}"'  # the content of an id never changes
    headers = {**HEADERS, "ETag": etag, "Content-Disposition": _disposition(row)}
    part = _part(request, etag, row.size)
    start, end = part or (0, row.size)
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{row.size}"
    known = get_conditional_response(request, etag, response=HttpResponse(headers=headers))
    if known is not None and known.status_code == 304:
        return known
    headers |= {"Content-Length": str(end - start)}
    status = 206 if part else 200
    if request.method == "HEAD":
        return HttpResponse(status=status, headers=headers, content_type=row.mime_type)
    pieces = _Pieces(_opened(row), start, end - start)
    return StreamingHttpResponse(pieces, status=status, headers=headers, content_type=row.mime_type)


def _disposition(row: Media) -> str:
    inline = row.mime_type in media_types.INLINE
    return content_disposition_header(not inline, row.filename) or "attachment"


def _part(request: HttpRequest, etag: str, size: int) -> tuple[int, int] | None:
    """The part that is asked for, from its first byte to behind its last; None: all of it."""
    match = _RANGE.fullmatch(request.headers.get("Range", "").replace(" ", ""))
    unchanged = request.headers.get("If-Range", etag) == etag
    if request.method != "GET" or match is None or not unchanged or match[0] == "bytes=-":
        return None
    if not match[1]:  # so many from the end
        start, end = max(0, size - int(match[2])), size
    else:
        start, end = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
        if match[2] and int(match[2]) < start:
            return None  # no range at all
    if start >= size:
        raise RangeRefused(details={"size": size})
    return start, end


def _opened(row: Media) -> File[Any]:
    try:
        return media_files.open_file(row)
    except FileNotFoundError:
        raise NotFound(f"media not found: {row.pk}") from None


class _Pieces:
    """A part of an open file as chunks read in threads; the response closes it."""

    def __init__(self, file: File[Any], start: int, length: int) -> None:
        self._file, self._start, self._length = file, start, length

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._length
        await reading(self._file.seek, self._start)
        while left:
            data = await reading(self._file.read, min(CHUNK_BYTES, left))
            if not data:
                raise EOFError("the stored file is shorter than its row says")
            left -= len(data)
            yield data

    def close(self) -> None:
        self._file.close()
