"""The multipart form of an upload: one file, on disk, under a name of ours."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http import HttpRequest
from django.http.multipartparser import MultiPartParser, MultiPartParserError

from realtime.core.errors import InvalidParams
from sessions_app.services import media_files
from sessions_app.services.media import BAD_FORM
from sessions_app.services.media_names import shown_name

FIELD = "file"
MOST_PARTS = 100


class _Form(MultiPartParser):
    """Django's parser, which names files on disk after what it is told: it is told nothing.

    `shown` keeps what the client called the file.
    """

    shown = ""

    def sanitize_file_name(self, file_name: str) -> str:
        if self.shown:
            raise InvalidParams(BAD_FORM)  # a second file
        self.shown = shown_name(file_name)
        return "upload"


def read(request: HttpRequest) -> tuple[UploadedFile[Any], str]:
    """The uploaded file and its shown name; whoever calls closes the file.

    Raises InvalidParams, StorageFull, Unavailable.
    """
    length = request.META.get("CONTENT_LENGTH") or settings.MEDIA_MAX_BYTES  # chunked has none
    meta = {**request.META, "CONTENT_LENGTH": length}
    handlers = [TemporaryFileUploadHandler(request)]
    try:
        form = _Form(meta, request, handlers, request.encoding)
        with media_files.storing():
            fields, files = _parse(form)
    except MultiPartParserError:
        raise InvalidParams(BAD_FORM) from None
    found = files.get(FIELD)
    problem = ""
    if sum(len(values) for _, values in fields.lists()) > MOST_PARTS or (form.shown and not files):
        problem = BAD_FORM  # too many parts, or it ended in the middle of the file
    elif found is None:
        problem = f"missing '{FIELD}' field"
    if problem or found is None:
        for file in files.values():
            file.close()
        raise InvalidParams(problem)
    return found, form.shown


def _parse(form: _Form) -> Any:
    try:
        return form.parse()
    # LookupError: the form names a coding as its charset that is none of text.
    except (MultiPartParserError, SuspiciousOperation, ValueError, LookupError):
        raise InvalidParams(BAD_FORM) from None
