"""MEDIA_STORAGE=s3://…: the whole way of an upload through a bucket, over a socket."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.files.uploadedfile import TemporaryUploadedFile

from config.environment import Environment
from realtime.core.errors import Unavailable
from realtime.core.principal import Principal
from sessions_app.models import Media
from sessions_app.services import media, media_files
from tests import samples


class Bucket(http.server.BaseHTTPRequestHandler):
    """As much of S3 as one object needs; `objects` by path, `asked` in order."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, tuple[bytes, str]]
    asked: list[str]
    broken = False

    def log_message(self, *args: Any) -> None:
        """Quiet."""

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.asked.append(f"{self.command} {self.path}")
        self.send_response(status)
        length = headers.pop("length", str(len(body)))
        self.send_header("Content-Length", length)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> bytes:
        """Plain, or in the chunks that a signed upload is sent in."""
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if "aws-chunked" not in self.headers.get("Content-Encoding", ""):
            return data
        whole = b""
        while match := re.match(rb"([0-9a-f]+)[^\r]*\r\n", data):
            size = int(match[1], 16)
            whole += data[match.end() : match.end() + size]
            data = data[match.end() + size + 2 :]
        return whole

    def do_PUT(self) -> None:
        data = self._body()
        if self.broken:
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
            return
        self.objects[self.path] = data, self.headers["Content-Type"]
        self._answer(200, ETag='"x"')

    def do_HEAD(self) -> None:
        found = self.objects.get(self.path)
        if found is None:
            self._answer(404)
        else:
            self._answer(200, length=str(len(found[0])), ETag='"x"')

    def do_GET(self) -> None:
        found = self.objects.get(self.path)
        self._answer(200, found[0], ETag='"x"') if found else self._answer(404)

    def do_DELETE(self) -> None:
        self.objects.pop(self.path, None)
        self._answer(204)


@pytest.fixture
def bucket(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Any]:
    """A bucket `ours` that MEDIA_STORAGE names."""
    handler = type("Handler", (Bucket,), {"objects": {}, "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    place = f"endpoint_url=http://127.0.0.1:{server.server_port}&region_name=eu-1"
    monkeypatch.setenv("MEDIA_STORAGE", f"s3://ours/in/here?{place}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "for-tests")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    row = Environment(tmp_path).media_storage("MEDIA_STORAGE", tmp_path)
    settings.STORAGES = {**settings.STORAGES, "media": row}
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    yield handler
    media_files.storage().connection.meta.client.close()
    server.shutdown()
    thread.join()
    server.server_close()


def store(alice: Principal) -> Media:
    with TemporaryUploadedFile("upload", "text/html", 0, None) as file:
        file.write(samples.png())
        file.size = len(samples.png())
        return media.store(principal=alice, filename="dot.png", file=file)


def test_an_upload_goes_to_the_bucket_and_comes_back(
    bucket: Any, alice: Principal, django_capture_on_commit_callbacks: Any
) -> None:
    row = store(alice)
    path = f"/ours/in/here/{row.stored_as}"
    assert bucket.objects == {path: (samples.png(), "image/png")}, "the type that was recognised"
    with media_files.open_file(row) as file:
        file.seek(1)
        assert file.read(3) == b"PNG"
    with django_capture_on_commit_callbacks(execute=True):
        row.delete()
    assert not bucket.objects


def test_a_missing_object_is_a_missing_file(bucket: Any, alice: Principal) -> None:
    row = store(alice)
    bucket.objects.clear()
    with pytest.raises(FileNotFoundError):
        media_files.open_file(row)


def test_a_bucket_that_refuses_leaves_no_row(bucket: Any, alice: Principal) -> None:
    bucket.broken = True
    with pytest.raises(Unavailable, match="media storage does not answer"):
        store(alice)
    assert not Media.objects.exists()
