"""How large an image is, read from its header: nothing is ever decoded."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import IO

from realtime.core.errors import UnsupportedMedia

MOST_PIXELS = 100_000_000  # decoded, four bytes each
# A camera writes some dozens before the frame's own; a file may consist of nothing else.
MOST_JPEG_SEGMENTS = 1000

Size = tuple[int, int]  # width and height in pixels


def size_of(file: IO[bytes], mime_type: str) -> Size | None:
    """Width and height of an image in pixels, None for what is none; `file` may be left anywhere.

    Raises UnsupportedMedia when they cannot be read, or are too many.
    """
    if mime_type not in _READERS:
        return None
    file.seek(0)
    try:
        width, height = _READERS[mime_type](file)
    except (struct.error, ValueError, IndexError):
        raise UnsupportedMedia("the image has no readable size") from None
    if not width or not height:
        raise UnsupportedMedia("the image has no readable size")
    if width * height > MOST_PIXELS:
        raise UnsupportedMedia(
            f"an image takes at most {MOST_PIXELS} pixels; this one has {width} x {height}"
        )
    return width, height


def _png(file: IO[bytes]) -> Size:
    head = file.read(24)
    if head[12:16] != b"IHDR":
        raise ValueError("no header chunk")
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def _gif(file: IO[bytes]) -> Size:
    width, height = struct.unpack("<HH", file.read(10)[6:10])
    return width, height


def _webp(file: IO[bytes]) -> Size:
    head = file.read(30)
    match head[12:16]:
        case b"VP8X":
            return _little(head[24:27]) + 1, _little(head[27:30]) + 1
        case b"VP8L" if head[20] == 0x2F:
            bits = _little(head[21:25])
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 " if head[23:26] == b"\x9d\x01\x2a":
            return _little(head[26:28]) & 0x3FFF, _little(head[28:30]) & 0x3FFF
    raise ValueError("no known chunk")


def _jpeg(file: IO[bytes]) -> Size:
    """From segment to segment until the one that describes the frame."""
    file.seek(2)
    for _ in range(MOST_JPEG_SEGMENTS):
        first, marker = struct.unpack(">BB", file.read(2))
        if first != 0xFF:
            raise ValueError("no marker")
        if marker == 0xFF:  # padding
            file.seek(-1, 1)
        elif _is_frame(marker):
            _, _, height, width = struct.unpack(">HBHH", file.read(7))
            return width, height
        elif marker in (0xD9, 0xDA):
            raise ValueError("no frame before the data")
        elif not (marker == 0x01 or 0xD0 <= marker <= 0xD8):  # those stand alone
            (length,) = struct.unpack(">H", file.read(2))
            file.seek(max(0, length - 2), 1)
    raise ValueError("too many segments")


def _is_frame(marker: int) -> bool:
    """Start of frame, of whatever coding; three numbers in its range mean something else."""
    return 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)


def _little(data: bytes) -> int:
    if not data:
        raise ValueError("too short")
    return int.from_bytes(data, "little")


_READERS: dict[str, Callable[[IO[bytes]], Size]] = {
    "image/png": _png,
    "image/gif": _gif,
    "image/webp": _webp,
    "image/jpeg": _jpeg,
}
