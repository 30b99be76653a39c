"""Files as people upload them, as small as their formats allow."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib


def png(width: int = 1, height: int = 1, rest: bytes = b"") -> bytes:
    """A PNG that says it has this size; whole and shown by browsers when it is 1 x 1."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\x00\xff\x00\x00")
    parts = [_chunk(b"IHDR", header), _chunk(b"IDAT", data), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + rest


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def jpeg(width: int = 3, height: int = 2, before: bytes = b"") -> bytes:
    frame = struct.pack(">HBHHB", 8, 8, height, width, 0)
    return b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01" + bytes(7) + before + b"\xff\xc2" + frame


def gif(width: int = 3, height: int = 2) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x00\x00\x00;"


def webp(chunk: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def webp_lossy(width: int = 3, height: int = 2) -> bytes:
    head = b"\x00\x00\x00\x9d\x01\x2a" + struct.pack("<HH", width, height)
    return webp(b"VP8 " + struct.pack("<I", len(head)) + head)


def webp_lossless(width: int = 3, height: int = 2) -> bytes:
    bits = (width - 1) | (height - 1) << 14
    return webp(b"VP8L\x05\x00\x00\x00\x2f" + struct.pack("<I", bits) + bytes(8))


def webp_extended(width: int = 3, height: int = 2) -> bytes:
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return webp(b"VP8X\x0a\x00\x00\x00\x00\x00\x00\x00" + sizes)


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names or ("inner.zip",):
            archive.writestr(name, b"x")
    return buffer.getvalue()


def mp4(brand: bytes = b"isom") -> bytes:
    return struct.pack(">I", 24) + b"ftyp" + brand + b"\x00\x00\x02\x00" + brand + b"mp41"


def form(*parts: bytes, boundary: str = "b0undary", end: bytes = b"--") -> bytes:
    """The body of a multipart form of parts made by `part`."""
    edge = b"--" + boundary.encode()
    return b"".join(edge + b"\r\n" + one + b"\r\n" for one in parts) + edge + end + b"\r\n"


def part(
    content: bytes, filename: str | None = "dot.png", name: str = "file", more: str = ""
) -> bytes:
    called = "" if filename is None else f'; filename="{filename}"'
    head = f'Content-Disposition: form-data; name="{name}"{called}\r\n{more}\r\n'
    return head.encode() + content


FORM_TYPE = "multipart/form-data; boundary=b0undary"

# One of every kind that is taken: name, content, type told.
TAKEN = [
    ("dot.png", png(), "image/png"),
    ("dot.JPG", jpeg(), "image/jpeg"),
    ("dot.jpeg", jpeg(), "image/jpeg"),
    ("dot.gif", gif(), "image/gif"),
    ("dot.webp", webp_lossy(), "image/webp"),
    ("a.mp3", b"ID3\x04" + bytes(20), "audio/mpeg"),
    ("a.wav", b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(20), "audio/wav"),
    ("a.ogg", b"OggS" + bytes(40), "audio/ogg"),
    ("a.opus", b"OggS" + bytes(40), "audio/ogg"),
    ("a.m4a", mp4(b"M4A "), "audio/mp4"),
    ("a.flac", b"fLaC" + bytes(40), "audio/flac"),
    ("v.mp4", mp4(), "video/mp4"),
    ("v.mov", mp4(b"qt  ").replace(b"mp41", b"qt  "), "video/quicktime"),
    ("v.webm", b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm" + bytes(40), "video/webm"),
    ("d.pdf", b"%PDF-1.7\n" + bytes(40), "application/pdf"),
    ("d.zip", zipped(), "application/zip"),
    (
        "d.docx",
        zipped("[Content_Types].xml", "word/document.xml"),
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    (
        "d.xlsx",
        zipped("xl/workbook.xml"),
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    ("d.odt", zipped("content.xml"), "application/vnd.oasis.opendocument.text"),
]
PAGE = b"<script>document.title='ran'</script>"

# What must not be taken, whatever it is called. RELIABILITY.md M-06.
REFUSED = {
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>',
    "html": b"<!doctype html>" + PAGE,
    "xml": b'<?xml version="1.0"?><a/>',
    "php": b"<?php echo 1; ?>",
    "elf": b"\x7fELF\x02\x01\x01" + bytes(60),
    "exe": b"MZ" + bytes(60),
    "js": b"alert(1)",
    "empty": b"",
}
