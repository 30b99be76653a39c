"""Which uploads are taken: name and content must agree on a row of TYPES. PROTOCOLS.md 2.11.

Content that looks right may still be something else besides (a picture that is also a page): what
is not `inline` is only ever served as a download.
"""

from __future__ import annotations

from dataclasses import dataclass

import filetype

from realtime.core.errors import UnsupportedMedia
from sessions_app.models import Media

HEAD_BYTES = 8192  # of the content; no signature lies behind them


@dataclass(frozen=True, slots=True)
class Type:
    """`looks`: what the content may be recognised as; `inline`: a browser may show it."""

    mime_type: str
    kind: Media.Kind
    looks: frozenset[str]
    inline: bool = False


def _type(mime_type: str, *looks: str, inline: bool = False) -> Type:
    kinds = {"image": Media.Kind.IMAGE, "audio": Media.Kind.AUDIO, "video": Media.Kind.VIDEO}
    kind = kinds.get(mime_type.partition("/")[0], Media.Kind.DOCUMENT)
    return Type(mime_type, kind, frozenset({mime_type, *looks}), inline)


def _office(name: str) -> Type:
    """A zip archive with a convention; not every program writes the part first that says so."""
    return _type(f"application/vnd.{name}", "application/zip")


_JPEG = _type("image/jpeg", inline=True)
_OGG = _type("audio/ogg", inline=True)
_MP4 = _type("video/mp4", "video/x-m4v", inline=True)

# By the extension of the name.
TYPES: dict[str, Type] = {
    "png": _type("image/png", "image/apng", inline=True),
    "jpg": _JPEG,
    "jpeg": _JPEG,
    "gif": _type("image/gif", inline=True),
    "webp": _type("image/webp", inline=True),
    "mp3": _type("audio/mpeg", inline=True),
    "wav": _type("audio/wav", "audio/x-wav", inline=True),
    "ogg": _OGG,
    "oga": _OGG,
    "opus": _OGG,
    "m4a": _type("audio/mp4", "video/mp4", inline=True),
    "flac": _type("audio/flac", "audio/x-flac"),
    "mp4": _MP4,
    "m4v": _MP4,
    "webm": _type("video/webm", inline=True),
    "mov": _type("video/quicktime"),
    "pdf": _type("application/pdf"),
    "zip": _type("application/zip"),
    "docx": _office("openxmlformats-officedocument.wordprocessingml.document"),
    "xlsx": _office("openxmlformats-officedocument.spreadsheetml.sheet"),
    "pptx": _office("openxmlformats-officedocument.presentationml.presentation"),
    "odt": _office("oasis.opendocument.text"),
    "ods": _office("oasis.opendocument.spreadsheet"),
    "odp": _office("oasis.opendocument.presentation"),
}
INLINE = frozenset(row.mime_type for row in TYPES.values() if row.inline)
ACCEPTED = f"accepted are {', '.join(TYPES)}, each with the content that its name says"


def recognise(*, filename: str, head: bytes) -> Type:
    """The type that name and content agree on; `head` is the first HEAD_BYTES of the content.

    Raises UnsupportedMedia.
    """
    found = TYPES.get(filename.rpartition(".")[2].lower()) if "." in filename else None
    looks = filetype.guess_mime(head)
    if found is None or looks not in found.looks:
        raise UnsupportedMedia(f"this file is not accepted; {ACCEPTED}")
    return found
