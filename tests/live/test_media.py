"""Uploads over real sockets: sizes, lies, broken-off bodies, memory; media in a conversation."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import resource
import socket
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests import samples
from tests.services import until
from tests.services.people import key_of

pytestmark = [pytest.mark.live, pytest.mark.own_server]

MIB = 1024 * 1024
LIMIT = 8 * MIB
INVALID = "file too large or invalid multipart form"
PATHS = ["/api/media/upload", "/v1/media/upload/"]
ALICE = {"Authorization": f"Bearer {key_of('alice')}"}


@pytest.fixture(scope="module")
def server(serve_for_module):
    return serve_for_module(database="sqlite", MEDIA_MAX_BYTES=str(LIMIT))


@pytest.fixture
def http(server):
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
        yield client


def png_of(size):
    return samples.png(rest=bytes(size - len(samples.png())))


def upload(http, content=None, path=PATHS[0], filename="dot.png", **headers):
    files = {"file": (filename, samples.png() if content is None else content, "text/html")}
    return http.post(path, files=files, headers={**ALICE, **headers})


def said(answer):
    return answer.status_code, answer.json()["error"]["message"]


class Raw:
    """A socket that says exactly what the test says."""

    def __init__(self, server):
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=30)

    def head(self, path=PATHS[0], **headers):
        named = {"Host": "localhost", "Content-Type": samples.FORM_TYPE, **ALICE, **headers}
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in named.items() if value]
        self.send("\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""]).encode())

    def send(self, data):
        self._socket.sendall(data)

    def answer(self):
        """Status and body of what comes until the server closes, or of one whole answer."""
        got = b""
        while not (found := re.search(rb"content-length: (\d+).*?\r\n\r\n", got, re.S | re.I)) or (
            len(got) < found.end() + int(found[1])
        ):
            data = self._socket.recv(65536)
            if not data:
                break
            got += data
        head, _, body = got.partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), json.loads(body[: int(found[1])] if found else body)

    def close(self):
        self._socket.close()


@pytest.fixture
def dial(server):
    """`dial()`: a Raw, closed at the end if not before."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(contextlib.closing(Raw(server)))


def rows_in(server):
    path = server.environ["DATABASE_URL"].removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT count(*) FROM sessions_app_media").fetchone()[0]


def files_in(server, folder):
    home = Path(server.environ["TRUNKLINE_HOME"])
    return [path for path in (home / folder).rglob("*") if path.is_file()]


@pytest.mark.parametrize("path", PATHS)
def test_m01_a_file_of_the_limit_passes_and_one_byte_more_is_refused(http, path):
    assert upload(http, png_of(LIMIT), path).status_code == 200
    assert said(upload(http, png_of(LIMIT + 1), path)) == (400, INVALID)


@pytest.mark.parametrize("path", PATHS)
def test_m01_a_declared_length_over_the_limit_is_refused_before_the_body(dial, path):
    raw = dial()
    raw.head(path, Content_Length=str(LIMIT + MIB), Expect="100-continue")
    status, body = raw.answer()
    assert (status, body["error"]["message"]) == (400, INVALID), "and not 100"


def test_m01_a_body_without_a_length_is_taken_up_to_the_limit(http):
    def chunked(content):
        yield samples.form(samples.part(content))

    headers = {**ALICE, "Content-Type": samples.FORM_TYPE}
    taken = http.post(PATHS[0], content=chunked(png_of(LIMIT)), headers=headers)
    assert taken.status_code == 200
    assert said(http.post(PATHS[0], content=chunked(png_of(LIMIT + 1)), headers=headers)) == (
        400,
        INVALID,
    )


def test_m01_an_endless_body_is_cut_off_soon_after_the_limit(server, dial):
    raw, sent = dial(), 0
    raw.head(Transfer_Encoding="chunked")
    piece = b"%x\r\n%b\r\n" % (256 * 1024, bytes(256 * 1024))
    with contextlib.suppress(ConnectionError):
        while sent < 2_000_000_000:
            raw.send(piece)
            sent += 256 * 1024
    assert sent < LIMIT + 32 * MIB
    until(lambda: not files_in(server, "incoming"), 30, "end of what had come of it")


def test_m02_a_length_that_lies_does_not_help(server, dial):
    form = samples.form(samples.part(samples.png()))
    before = len(files_in(server, "media"))
    short = dial()
    short.head(Content_Length=str(len(form) - 40))
    short.send(form)
    status, body = short.answer()
    assert (status, body["error"]["message"]) == (400, INVALID)
    long = dial()
    long.head(Content_Length=str(len(form) + 40))
    long.send(form)
    long.close()
    assert len(files_in(server, "media")) == before


def test_m04_no_part_of_a_name_reaches_the_disk(server, http):
    names = ["../../x.png", "..\\x.png", "/etc/x.png", "CON.png", ".htaccess.png", "é\u202e.png"]
    for name in [*names, "x" * 900 + ".png"]:
        told = upload(http, filename=name).json()
        assert len(told["filename"]) <= 255
        assert not set("/\\\u202e") & set(told["filename"])
    names = [path.name for path in files_in(server, "media")]
    assert all(re.fullmatch("[0-9a-f]{32}", name) for name in names)


def test_m06_active_content_is_refused_under_any_name(http):
    for kind, content in samples.REFUSED.items():
        for name in (f"x.{kind}", "x.png", "x.pdf"):
            assert upload(http, content, filename=name).status_code == 415, (kind, name)


def test_m07_what_passes_as_a_picture_is_served_as_nothing_else(http):
    both = samples.png(rest=samples.PAGE)
    told = upload(http, both, filename="page.png").json()
    got = http.get(f"/v1/media/{told['path']}", headers=ALICE)
    assert got.content == both
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-security-policy"] == "sandbox; default-src 'none'"


def peak(server, name):
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) * 1024


def test_m10_parallel_uploads_at_the_limit_take_little_memory(server):
    def send(content):
        with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as http:
            return upload(http, content).status_code

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(send, [samples.png()] * 20)) == {200}  # threads are there now
        before = peak(server, "VmRSS")
        Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # forget the peak
        assert set(pool.map(send, [png_of(LIMIT)] * 20)) == {200}
    assert peak(server, "VmHWM") - before < 64 * MIB


def test_a_large_file_is_served_without_being_held(server, http):
    path = upload(http, png_of(LIMIT)).json()["path"]
    before = peak(server, "VmRSS")
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")
    with http.stream("GET", f"/v1/media/{path}", headers=ALICE) as answer:
        assert sum(len(piece) for piece in answer.iter_bytes()) == LIMIT
    assert peak(server, "VmHWM") - before < LIMIT / 2


def test_m11_links_and_paths_let_nobody_else_in(http):
    mine, other = upload(http).json()["path"], upload(http).json()["path"]
    link = http.post("/v1/files/sign", json={"path": mine}, headers=ALICE).json()
    bob = {"Authorization": f"Bearer {key_of('bob')}"}
    carol = {"Authorization": f"Bearer {key_of('carol')}"}
    assert http.get(link["url"]).content == samples.png()
    for url, headers, status in [
        (f"/v1/media/{mine}", {}, 401),
        (f"/v1/media/{mine}", bob, 404),
        (f"/v1/media/{mine}", carol, 404),
        (f"/v1/media/{other}?ft={link['ft']}", {}, 403),
        (f"{link['url']}0", {}, 403),
        ("/v1/media/%2e%2e%2fetc%2fpasswd", ALICE, 404),
        ("/v1/media/%252e%252e%252fetc", ALICE, 404),
        (f"/v1/files/%2561?ft={link['ft']}", {}, 404),
    ]:
        assert http.get(url, headers=headers).status_code == status, url


def test_m13_many_ranges_are_answered_whole(http):
    path = upload(http).json()["path"]
    many = ",".join(f"{n}-{n}" for n in range(1000))
    got = http.get(f"/v1/media/{path}", headers={**ALICE, "Range": f"bytes={many}"})
    assert (got.status_code, got.content) == (200, samples.png())
    got = http.get(f"/v1/media/{path}", headers={**ALICE, "Range": "bytes=1-3"})
    assert (got.status_code, got.content) == (206, samples.png()[1:4])
    got = http.get(f"/v1/media/{path}", headers={**ALICE, "Range": "bytes=9999-"})
    assert got.status_code == 416


def test_m14_a_body_that_is_broken_off_leaves_nothing(server, dial):
    form = samples.form(samples.part(png_of(MIB)))
    rows, files = rows_in(server), files_in(server, "media")
    for length in (10, 200, MIB // 2, len(form) - 1):
        raw = dial()
        raw.head(Content_Length=str(len(form)))
        raw.send(form[:length])
        raw.close()
    until(lambda: not open_uploads(server), 30, "end of the broken-off requests")
    assert rows_in(server) == rows
    assert (files_in(server, "media"), files_in(server, "incoming")) == (files, [])


def open_uploads(server):
    """The temporary files that the server has open."""
    links = []
    for link in Path(f"/proc/{server.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(str(link.readlink()))
    return [link for link in links if link.endswith("(deleted)")]


def test_m15_a_full_disk_is_told_and_leaves_nothing(server, http):
    rows, files = rows_in(server), files_in(server, "media")
    _, most = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (6 * MIB, most))
    try:
        answer = upload(http, png_of(7 * MIB))
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (most, most))
    assert answer.status_code == 507
    assert answer.json()["error"]["code"] == "INSUFFICIENT_STORAGE"
    assert rows_in(server) == rows
    assert (files_in(server, "media"), files_in(server, "incoming")) == (files, [])
    assert upload(http, png_of(7 * MIB)).status_code == 200


def test_m16_ten_thousand_parts_are_refused_quickly(http):
    headers = {**ALICE, "Content-Type": samples.FORM_TYPE}
    for part in (samples.part(b"x", None, "f"), samples.part(samples.png())):
        body = samples.form(*[part] * 10_000)
        answer = http.post(PATHS[0], content=body, headers=headers)
        assert said(answer) == (400, INVALID)
        assert answer.elapsed.total_seconds() < 10


def test_m17_a_compressed_body_is_refused(http):
    assert upload(http, **{"Content-Encoding": "gzip"}).status_code == 415


@pytest.mark.parametrize("path", PATHS)
def test_without_credentials_the_body_is_not_even_read(dial, path):
    raw = dial()
    raw.head(path, Authorization="", Content_Length=str(MIB), Expect="100-continue")
    status, body = raw.answer()
    assert (status, body["error"]["code"]) == (401, "UNAUTHORIZED"), "and not 100"


# --- in a conversation ---


async def test_media_in_a_message_is_found_in_the_history(server, http, join):
    path = upload(http).json()["path"]
    alice = await join(server, token=key_of("alice"))
    media = [{"path": path, "filename": "dot.png"}]
    answer = await alice.ask("chat.send", message="look", sessionKey="m1", media=media)
    assert answer["content"] == "look\n[image: dot.png]"
    alone = await alice.ask("chat.send", message="", sessionKey="m1", media=[path])
    assert alone["content"] == "[image: dot.png]"
    first = (await alice.ask("chat.history", sessionKey="m1"))["messages"][0]
    assert first["content"] == "look\n[image: dot.png]"
    assert [(ref["id"], ref["kind"]) for ref in first["media_refs"]] == [(path, "image")]
    bob = await join(server, token=key_of("bob"))
    for stranger, named in [(bob, path), (bob, "/etc/passwd"), (alice, "../secrets/secret_key")]:
        refusal = await stranger.refused("chat.send", message="x", sessionKey="b", media=[named])
        assert refusal == {"code": "NOT_FOUND", "message": f"media not found: {named}"}


async def test_media_waits_for_the_run_and_then_gets_its_own(server, http, join):
    path = upload(http).json()["path"]
    alice = await join(server, token=key_of("alice"))
    slow = await alice.send("chat.send", message="slow 60", sessionKey="m2", stream=True)
    first = (await alice.event("agent", "chunk"))["runId"]
    waiting = await alice.send("chat.send", message="look", sessionKey="m2", media=[path])
    assert await alice.ask("chat.send", message="more", sessionKey="m2") == {"injected": True}
    history = (await alice.ask("chat.history", sessionKey="m2"))["messages"]
    assert [m["content"] for m in history] == ["slow 60", "more"], "nothing stored yet"
    assert (await alice.ask("chat.abort", sessionKey="m2"))["aborted"]
    assert (await alice.answer(slow))["payload"] == {"cancelled": True}
    answer = (await alice.answer(waiting))["payload"]
    assert answer["content"] == "look\n[image: dot.png]"
    assert answer["runId"] != first
    assert alice.run_events(answer["runId"])[-1] == "run.completed"
    assert alice.frames[-1]["type"] == "res", "the answer comes last"


async def test_who_is_shut_out_meanwhile_starts_no_run(server, http, join):
    """The key that asked is revoked while its message waits."""
    admin = await join(server, token=key_of("root"))
    own = httpx.post(
        f"{server.url}/api/auth/keys/",
        json={"name": "k"},
        headers=ALICE,
        trust_env=False,
        timeout=30,
    ).json()
    path = upload(http).json()["path"]
    alice = await join(server, token=key_of("alice"))
    await alice.send("chat.send", message="slow 60", sessionKey="m3", stream=True)
    await alice.event("agent", "chunk")
    phone = await join(server, token=own["key"])
    await phone.send("chat.send", message="look", sessionKey="m3", media=[path])
    await phone.ask("chat.session.status", sessionKey="m3")
    gone = await asyncio.to_thread(
        httpx.delete,
        f"{server.url}/api/auth/keys/{own['id']}/",
        headers=ALICE,
        trust_env=False,
        timeout=30,
    )
    assert gone.status_code == 204
    assert (await phone.closed())[0] == 4003
    await admin.ask("chat.abort", sessionKey="m3")
    await alice.event("agent", "run.cancelled")
    await alice.ask("chat.send", message="after", sessionKey="m3")
    history = (await alice.ask("chat.history", sessionKey="m3"))["messages"]
    assert not any("look" in m["content"] for m in history)
