"""Which files are taken, what they are called, and how large an image says it is."""

from __future__ import annotations

import io
import struct

import pytest

from realtime.core.errors import InvalidParams, UnsupportedMedia
from sessions_app.services.media_images import MOST_JPEG_SEGMENTS, size_of
from sessions_app.services.media_names import shown_name
from sessions_app.services.media_types import INLINE, TYPES, recognise
from tests import samples


@pytest.mark.parametrize(("name", "content", "mime_type"), samples.TAKEN)
def test_a_file_whose_name_and_content_agree_is_taken(
    name: str, content: bytes, mime_type: str
) -> None:
    assert recognise(filename=name, head=content).mime_type == mime_type


@pytest.mark.parametrize(
    "name", ["dot.gif", "dot.pdf", "dot.zip", "dot.txt", "dot", "png", "a.svg"]
)
def test_m05_a_name_that_says_something_else_is_refused(name: str) -> None:
    with pytest.raises(UnsupportedMedia, match="accepted are png, jpg, jpeg, gif"):
        recognise(filename=name, head=samples.png())


@pytest.mark.parametrize("kind", samples.REFUSED)
def test_m06_active_and_unknown_content_is_refused_under_every_name(kind: str) -> None:
    for extension in [*TYPES, kind]:
        with pytest.raises(UnsupportedMedia):
            recognise(filename=f"x.{extension}", head=samples.REFUSED[kind])


def test_a_browser_shows_pictures_sound_and_film_only() -> None:
    assert {mime_type.partition("/")[0] for mime_type in INLINE} == {"image", "audio", "video"}
    assert len(INLINE) == 10


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("dot.png", "dot.png"),
        ("../../etc/x.png", "x.png"),
        ("..\\..\\x.png", "x.png"),
        ("/absolute/x.png", "x.png"),
        ("C:\\fakepath\\x.png", "x.png"),
        ("a\x00b\r\n.png", "ab.png"),
        ("CON", "CON"),
        (".htaccess", ".htaccess"),
        ("\u202egnp.exe", "gnp.exe"),
        ("a\u2066b\u200e.png", "ab.png"),
        ("  Zürich – 東京.png ", "Zürich – 東京.png"),
        ("x" * 4096 + ".png", "x" * 251 + ".png"),
        ("." + "x" * 4096, "." + "x" * 254),
        ("\ud800x.png", "x.png"),
    ],
)
def test_m04_a_name_is_a_text_of_at_most_255_characters(given: str, shown: str) -> None:
    assert shown_name(given) == shown


@pytest.mark.parametrize("given", ["", "..", ".", "a/", "\\", "\u202e", "\x00", " . ", "x/.."])
def test_m04_a_name_of_nothing_is_refused(given: str) -> None:
    with pytest.raises(InvalidParams, match="^invalid filename$"):
        shown_name(given)


IMAGES = {
    "png": ("image/png", samples.png),
    "gif": ("image/gif", samples.gif),
    "jpeg": ("image/jpeg", samples.jpeg),
    "webp lossy": ("image/webp", samples.webp_lossy),
    "webp lossless": ("image/webp", samples.webp_lossless),
    "webp extended": ("image/webp", samples.webp_extended),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_the_size_of_an_image_stands_in_its_header(kind: str) -> None:
    mime_type, make = IMAGES[kind]
    assert size_of(io.BytesIO(make(640, 480)), mime_type) == (640, 480)


@pytest.mark.parametrize("kind", IMAGES)
def test_every_header_cut_short_is_unreadable(kind: str) -> None:
    mime_type, make = IMAGES[kind]
    for length in range(2, 24 if kind == "png" else 10):
        with pytest.raises(UnsupportedMedia):
            size_of(io.BytesIO(make(640, 480)[:length]), mime_type)


@pytest.mark.parametrize(
    ("kind", "width", "height"),
    [("png", 30_000, 30_000), ("png", 2**32 - 1, 1), ("jpeg", 65_535, 65_535)],
)
def test_m09_an_image_of_more_than_100_megapixels_is_refused(
    kind: str, width: int, height: int
) -> None:
    mime_type, make = IMAGES[kind]
    with pytest.raises(UnsupportedMedia, match=f"this one has {width} x {height}"):
        size_of(io.BytesIO(make(width, height)), mime_type)
    assert size_of(io.BytesIO(make(10_000, 10_000)), mime_type) == (10_000, 10_000)


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_an_image_without_an_extent_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UnsupportedMedia, match="no readable size"):
        size_of(io.BytesIO(samples.png(*size)), "image/png")


def test_a_jpeg_is_read_past_what_cameras_write_first() -> None:
    segment = b"\xff\xe1" + struct.pack(">H", 65_535) + bytes(65_533)
    tables = b"\xff\xff\xc4" + struct.pack(">H", 4) + b"\x00\x00"  # with padding before it
    image = samples.jpeg(640, 480, before=segment * 3 + tables)
    assert size_of(io.BytesIO(image), "image/jpeg") == (640, 480)


def test_a_jpeg_that_never_comes_to_the_point_is_refused() -> None:
    endless = samples.jpeg(640, 480, before=b"\xff\xe1\x00\x02" * MOST_JPEG_SEGMENTS)
    with pytest.raises(UnsupportedMedia):
        size_of(io.BytesIO(endless), "image/jpeg")
    stopped = samples.jpeg(640, 480, before=b"\xff\xda\x00\x02")
    with pytest.raises(UnsupportedMedia):
        size_of(io.BytesIO(stopped), "image/jpeg")


def test_what_is_no_image_has_no_size() -> None:
    assert size_of(io.BytesIO(b"%PDF-"), "application/pdf") is None
