"""Uploads over HTTP, as far as the framework's own client goes; sizes and sockets are in
tests/live/test_media.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings as project
from django.test import Client
from django.utils import timezone

from accounts.models import Account, Membership, Pairing, User
from accounts.services import keys
from realtime.core.principal import Principal
from sessions_app.models import Media
from sessions_app.services import media_links
from tests import samples
from tests.sessions_app.test_admin import staff

pytestmark = pytest.mark.usefixtures("folders")

UPLOADS = ["/api/media/upload", "/api/media/upload/", "/v1/media/upload", "/v1/media/upload/"]
SENDER = "s" * 40
Post = Callable[..., Any]


def key_for(name: str, role: str, account: str = "default") -> dict[str, str]:
    """Headers with a key of a new user."""
    home = Account.objects.get(slug=account)
    user = User.objects.create_user(name)
    Membership.objects.create(user=user, account=home, role=role)
    principal = Principal(id=name, account=account, role=role, via="session")
    made = keys.create(principal=principal, name="k", scopes_=[], owner_id="", expires_at=None)
    return {"authorization": f"Bearer {made.text}"}


@pytest.fixture
def alice_key(accounts: None) -> dict[str, str]:
    return key_for("alice", "operator")


@pytest.fixture
def gateway(accounts: None) -> dict[str, str]:
    return {"authorization": f"Bearer {project.GATEWAY_TOKEN}"}


@pytest.fixture
def browser(accounts: None) -> dict[str, str]:
    """Headers of a paired browser of alice's."""
    now = timezone.now()
    Pairing.objects.create(
        account=Account.objects.get(slug="default"),
        code="ABCD2345",
        sender_id=SENDER,
        proof=True,
        channel="browser",
        user_id="alice",
        status=Pairing.Status.APPROVED,
        expires_at=now,
        approved_until=now + timezone.timedelta(days=1),
    )
    return {"x-goclaw-sender-id": SENDER}


@pytest.fixture
def post(client: Client) -> Post:
    """Post a form of these parts."""

    def send(*parts: bytes, path: str = UPLOADS[2], **options: Any) -> Any:
        body = options.pop("body", None) or samples.form(*parts)
        kind = options.pop("kind", samples.FORM_TYPE)
        return client.generic("POST", path, body, kind, **options)

    return send


@pytest.fixture
def upload(post: Post, alice_key: dict[str, str]) -> Callable[..., str]:
    """The id of an upload of alice's."""

    def send(content: bytes = samples.png(), filename: str = "dot.png") -> str:
        answer = post(samples.part(content, filename), headers=alice_key)
        assert answer.status_code == 200, answer.content
        path: str = answer.json()["path"]
        return path

    return send


def said(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["message"]


def status(answer: Any) -> int:
    """Of an answer whose content, if it is a stream, nobody else reads."""
    if answer.streaming:
        content(answer)
    code: int = answer.status_code
    return code


def content(answer: Any) -> bytes:
    async def collect() -> bytes:
        return b"".join([piece async for piece in answer.streaming_content])

    return async_to_sync(collect)()


# --- in ---


@pytest.mark.parametrize("path", UPLOADS)
def test_an_upload_is_answered_with_what_a_message_takes(
    post: Post, alice_key: dict[str, str], path: str
) -> None:
    declared = "Content-Type: text/html\r\n"
    answer = post(samples.part(samples.png(), more=declared), path=path, headers=alice_key)
    assert answer.status_code == 200
    row = Media.objects.get()
    told = {"path": row.pk, "mime_type": "image/png", "filename": "dot.png"}
    assert answer.json() == told
    assert (row.owner, row.account.slug) == ("alice", "default")


def test_other_fields_beside_the_file_do_no_harm(post: Post, alice_key: dict[str, str]) -> None:
    note = samples.part(b"note", None, "caption")
    assert post(note, samples.part(samples.png()), headers=alice_key).status_code == 200


def test_the_gateway_token_uploads_for_whom_it_names_or_for_nobody(
    post: Post, gateway: dict[str, str]
) -> None:
    for name in ("carol", ""):
        headers = {**gateway, "x-goclaw-user-id": name}
        path = post(samples.part(samples.png()), headers=headers).json()["path"]
        assert Media.objects.get(pk=path).owner == name


def test_a_paired_browser_uploads_as_its_user_whatever_it_claims(
    post: Post, browser: dict[str, str]
) -> None:
    headers = {**browser, "x-goclaw-user-id": "root"}
    assert post(samples.part(samples.png()), headers=headers).status_code == 200
    assert Media.objects.get().owner == "alice"


def test_a_browser_that_is_nobody_uploads_nothing(post: Post, browser: dict[str, str]) -> None:
    Pairing.objects.update(user_id="")
    refused = (400, "user_id is required")
    assert said(post(samples.part(samples.png()), headers=browser)) == refused
    assert not Media.objects.exists()


def test_who_may_not_upload_is_told_why(
    post: Post, client: Client, accounts: None, gateway: dict[str, str]
) -> None:
    form = samples.part(samples.png())
    viewer = key_for("victor", "viewer")
    unknown = {"x-goclaw-sender-id": "t" * 40}
    wrong = {"authorization": "Bearer wrong"}
    elsewhere = {**gateway, "x-goclaw-tenant-id": "other"}
    assert post(form).status_code == 401
    assert post(form, headers=unknown).status_code == 401
    assert post(form, headers=wrong).status_code == 401
    assert post(form, headers=viewer).status_code == 403
    assert said(post(form, headers=elsewhere))[0] == 403
    assert not Media.objects.exists()
    here = {**gateway, "x-goclaw-tenant-id": str(Account.objects.get(slug="default").uuid)}
    assert post(form, headers=here).status_code == 200


def test_a_cookie_opens_no_upload(accounts: None) -> None:
    answer = staff("boss", "default").post(
        UPLOADS[0], samples.form(samples.part(samples.png())), content_type=samples.FORM_TYPE
    )
    assert answer.status_code == 401


INVALID = "file too large or invalid multipart form"
BROKEN = {
    "no form": ({"body": b"{}", "kind": "application/json"}, INVALID),
    "no text encoding": ({"kind": f"{samples.FORM_TYPE}; charset=rot13"}, INVALID),
    "no boundary": ({"body": b"x", "kind": "multipart/form-data"}, INVALID),
    "another boundary": ({"kind": "multipart/form-data; boundary=other"}, INVALID),
    "cut in the file": ({"body": samples.form(samples.part(samples.png()))[:150]}, INVALID),
    "two files": ({"parts": [samples.part(samples.png())] * 2}, INVALID),
    "another field": (
        {"parts": [samples.part(samples.png(), name="image")]},
        "missing 'file' field",
    ),
    "text": ({"parts": [samples.part(b"hello", None)]}, "missing 'file' field"),
    "nothing": ({"parts": []}, "missing 'file' field"),
    "no name": ({"parts": [samples.part(samples.png(), "..")]}, "invalid filename"),
    "bad base64": (
        {"parts": [samples.part(b"YWJjZ", more="Content-Transfer-Encoding: base64\r\n")]},
        INVALID,
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_form_is_refused_in_the_words_of_the_protocol(
    post: Post,
    alice_key: dict[str, str],
    folders: Path,
    case: str,
) -> None:
    options, message = BROKEN[case]
    options = dict(options)
    parts = options.pop("parts", [samples.part(samples.png())])
    assert said(post(*parts, headers=alice_key, **options)) == (400, message)
    assert not Media.objects.exists()
    assert not list((folders.parent / "incoming").iterdir())


def test_m16_too_many_parts_or_headers_are_refused(post: Post, alice_key: dict[str, str]) -> None:
    file = samples.part(samples.png())
    fields = [samples.part(b"x", None, f"f{number}") for number in range(101)]
    assert said(post(*fields, file, headers=alice_key)) == (400, INVALID)
    assert post(*fields[1:], file, headers=alice_key).status_code == 200
    headers = "".join(f"X-{number}: 1\r\n" for number in range(10_000))
    assert said(post(samples.part(samples.png(), more=headers), headers=alice_key))[0] == 400


def test_m17_a_compressed_body_is_refused(post: Post, alice_key: dict[str, str]) -> None:
    headers = {**alice_key, "content-encoding": "gzip"}
    assert post(samples.part(samples.png()), headers=headers).status_code == 415
    plain = {**alice_key, "content-encoding": "identity"}
    assert post(samples.part(samples.png()), headers=plain).status_code == 200


def test_m05_a_refused_kind_is_told_with_what_is_taken(
    post: Post, alice_key: dict[str, str]
) -> None:
    answer = post(samples.part(samples.REFUSED["svg"], "a.svg"), headers=alice_key)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert "accepted are png, jpg" in error["message"]


def test_m12_a_used_up_quota_is_told_with_its_numbers(
    post: Post, alice_key: dict[str, str], settings: Any
) -> None:
    settings.MEDIA_QUOTA_BYTES = 10
    answer = post(samples.part(samples.png()), headers=alice_key)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (429, "RESOURCE_EXHAUSTED")
    assert error["details"] == {"used": 0, "allowed": 10}


def test_another_site_may_ask_with_the_headers_of_the_protocol(
    client: Client, settings: Any
) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example"]
    asks = {
        "origin": "https://app.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,x-goclaw-user-id,x-goclaw-sender-id",
    }
    answer = client.options(UPLOADS[0], headers=asks)
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    allowed = set(answer.headers["access-control-allow-headers"].split(", "))
    assert allowed >= {"x-goclaw-user-id", "x-goclaw-sender-id", "x-goclaw-tenant-id"}


# --- out ---


def test_the_content_comes_with_headers_that_keep_it_harmless(
    client: Client, upload: Any, alice_key: dict[str, str]
) -> None:
    media_id = upload()
    answer = client.get(f"/v1/media/{media_id}", headers={**alice_key, "accept": "image/*"})
    assert (answer.status_code, content(answer)) == (200, samples.png())
    shown = {
        "Content-Type": "image/png",
        "Content-Length": str(len(samples.png())),
        "Cache-Control": "private, max-age=86400",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Content-Disposition": 'inline; filename="dot.png"',
        "Accept-Ranges": "bytes",
        "ETag": f'"{media_id}"',
    }
    assert {name: answer.headers[name] for name in shown} == shown


@pytest.mark.parametrize(("name", "body", "mime_type"), samples.TAKEN)
def test_what_no_browser_should_show_is_a_download(
    client: Client, upload: Any, alice_key: dict[str, str], name: str, body: bytes, mime_type: str
) -> None:
    answer = client.get(f"/v1/media/{upload(body, name)}", headers=alice_key)
    assert (answer.headers["Content-Type"], content(answer)) == (mime_type, body)
    media_kinds = {"image", "audio", "video"} - {"x"}
    shows = mime_type.partition("/")[0] in media_kinds
    shows = shows and mime_type not in ("audio/flac", "video/quicktime")
    assert answer.headers["Content-Disposition"].startswith("inline" if shows else "attachment")


def test_a_name_of_any_script_reaches_the_header(
    client: Client, upload: Any, alice_key: dict[str, str]
) -> None:
    answer = client.get(f"/v1/media/{upload(filename='東京.png')}", headers=alice_key)
    assert answer.headers["Content-Disposition"] == (
        "inline; filename*=utf-8''%E6%9D%B1%E4%BA%AC.png"
    )
    assert status(answer) == 200


@pytest.mark.parametrize("path", ["/v1/media/{}", "/v1/media/{}/", "/v1/files/{}"])
def test_m11_who_is_let_see_an_upload(client: Client, upload: Any, gateway: Any, path: str) -> None:
    url = path.format(upload())
    unknown = path.format(hashlib.sha256().hexdigest()[:32])
    boss, stranger = staff("boss", "default"), key_for("bob", "operator")
    for headers in (gateway, key_for("root", "admin")):
        assert status(client.get(url, headers=headers)) == 200
    assert status(boss.get(url)) == 200
    for headers in (stranger, key_for("carol", "admin", "other")):
        foreign, absent = client.get(url, headers=headers), client.get(unknown, headers=headers)
        assert foreign.status_code == absent.status_code == 404
        assert "media not found" in foreign.json()["error"]["message"]
    assert client.get(url).status_code == client.get(unknown).status_code == 401


def test_a_paired_browser_sees_its_users_uploads(
    client: Client, upload: Any, browser: dict[str, str]
) -> None:
    url = f"/v1/media/{upload()}"
    assert status(client.get(url, headers=browser)) == 200
    Pairing.objects.update(user_id="bob")
    assert client.get(url, headers=browser).status_code == 404


def test_m11_a_signed_link_opens_its_upload_for_anyone(
    client: Client, upload: Any, alice_key: dict[str, str]
) -> None:
    media_id, other = upload(), upload()
    answer = client.post(
        "/v1/files/sign/", {"path": media_id}, content_type="application/json", headers=alice_key
    )
    link = answer.json()
    assert (answer.status_code, link["path"]) == (200, media_id)
    assert link["url"] == f"/v1/files/{media_id}?ft={link['ft']}"
    assert link["expires_at"].endswith("Z")
    assert content(client.get(link["url"])) == samples.png()
    assert status(client.get(f"/v1/media/{media_id}?ft={link['ft']}")) == 200
    for url in (
        f"/v1/media/{other}?ft={link['ft']}",
        f"/v1/media/{media_id}?ft=",
        f"/v1/media/{media_id}?ft={link['ft']}0",
        f"/v1/media/{'0' * 32}?ft={link['ft']}",
    ):
        assert client.get(url).status_code == 403
    Media.objects.get(pk=media_id).delete()
    assert client.get(link["url"]).status_code == 404


def test_m11_a_link_is_for_who_may_see(client: Client, upload: Any) -> None:
    def sign(path: Any, headers: dict[str, str]) -> int:
        body = json.dumps({"path": path})
        answer = client.post(
            "/v1/files/sign", body, content_type="application/json", headers=headers
        )
        return answer.status_code

    media_id = upload()
    bob = key_for("bob", "operator")
    assert sign(media_id, key_for("root", "admin")) == 200
    assert sign(media_id, bob) == sign("0" * 32, bob) == sign("../x", bob) == 404
    assert sign(media_id, {}) == 401
    assert sign("", bob) == 400


def test_the_admins_cookie_signs_only_with_its_csrf_token(upload: Any) -> None:
    media_id = upload()
    cookie = staff("boss", "default").cookies
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = cookie
    answer = strict.post("/v1/files/sign", {"path": media_id}, content_type="application/json")
    assert answer.status_code == 403


@pytest.mark.parametrize("path", ["..%2f..%2fetc", "%252e%252e", "-x", ".x", "a%00", "%D9%A3"])
def test_m11_a_path_that_is_no_id_is_nothing(
    client: Client, gateway: dict[str, str], path: str
) -> None:
    assert client.get(f"/v1/media/{path}", headers=gateway).status_code == 404
    assert client.get(f"/v1/files/{path}?ft=x.1").status_code in (403, 404)


# --- parts of it ---

SIZE = len(samples.png(rest=bytes(range(100))))


@pytest.fixture
def ask(client: Client, upload: Any, alice_key: dict[str, str]) -> Callable[..., Any]:
    media_id = upload(samples.png(rest=bytes(range(100))))

    def get(range_: str, method: str = "get", **headers: str) -> Any:
        return getattr(client, method)(
            f"/v1/media/{media_id}", headers={**alice_key, "range": range_, **headers}
        )

    get.media_id = media_id  # type: ignore[attr-defined]
    return get


@pytest.mark.parametrize(
    ("range_", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes= 5 - 9 ", 5, 10),
        ("bytes=10-", 10, SIZE),
        ("bytes=-7", SIZE - 7, SIZE),
        (f"bytes=-{SIZE * 2}", 0, SIZE),
        (f"bytes=1-{SIZE * 2}", 1, SIZE),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
    ],
)
def test_a_single_range_is_answered_in_part(ask: Any, range_: str, start: int, end: int) -> None:
    answer = ask(range_)
    assert answer.status_code == 206
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == str(end - start)
    assert content(answer) == samples.png(rest=bytes(range(100)))[start:end]


@pytest.mark.parametrize(
    "range_",
    [
        "bytes=0-1,3-4",
        "bytes=" + ",".join(f"{n}-{n}" for n in range(1000)),
        "lines=0-1",
        "bytes=-",
        "bytes=5-2",
        "bytes=a-b",
        "bytes=1-" + "9" * 5000,
        "nonsense",
    ],
)
def test_m13_several_ranges_and_nonsense_are_answered_whole(ask: Any, range_: str) -> None:
    answer = ask(range_)
    assert (answer.status_code, len(content(answer))) == (200, SIZE)
    assert "Content-Range" not in answer.headers


@pytest.mark.parametrize("range_", [f"bytes={SIZE}-", f"bytes={SIZE + 5}-{SIZE + 9}", "bytes=-0"])
def test_m13_a_range_outside_is_not_satisfiable(ask: Any, range_: str) -> None:
    answer = ask(range_)
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"
    assert answer.json()["error"]["code"] == "RANGE_NOT_SATISFIABLE"


def test_m13_a_range_holds_only_for_the_same_content(ask: Any) -> None:
    same = {"if-range": f'"{ask.media_id}"'}
    assert status(ask("bytes=0-4", **same)) == 206
    for other in ('"x"', f'W/"{ask.media_id}"', "Sat, 21 Nov 2026 12:00:00 GMT"):
        answer = ask("bytes=0-4", **{"if-range": other})
        assert (answer.status_code, len(content(answer))) == (200, SIZE)


def test_a_head_tells_the_size_without_the_content(ask: Any) -> None:
    answer = ask("bytes=0-4", method="head")
    assert (answer.status_code, answer.headers["Content-Length"]) == (200, str(SIZE))
    assert answer.content == b""


def test_who_has_the_content_gets_it_once(ask: Any) -> None:
    answer = ask("", **{"if-none-match": f'"{ask.media_id}"'})
    assert answer.status_code == 304
    assert answer.headers["ETag"] == f'"{ask.media_id}"'


def test_a_lost_file_is_not_found(ask: Any, folders: Path) -> None:
    (folders / Media.objects.get().stored_as).unlink()
    assert ask("").status_code == 404


# --- in the admin ---


def test_an_administrator_looks_at_uploads_and_deletes_them(
    upload: Any,
    client: Client,
    folders: Path,
    django_capture_on_commit_callbacks: Any,
) -> None:
    media_id = upload()
    boss = staff("boss", "default")
    listed = boss.get("/admin/sessions_app/media/").content.decode()
    assert "dot.png" in listed
    assert f"/v1/files/{media_id}?ft=" in listed
    page = f"/admin/sessions_app/media/{media_id}"
    assert boss.get(f"{page}/change/").status_code == 200
    assert boss.post(f"{page}/change/", {"owner": "bob"}).status_code == 403
    assert boss.get("/admin/sessions_app/media/add/").status_code == 403
    theirs = staff("theirs", "other")
    assert "dot.png" not in theirs.get("/admin/sessions_app/media/").content.decode()
    assert theirs.post(f"{page}/delete/", {"post": "yes"}).status_code == 302
    assert staff("op", "default", role="operator").get(f"{page}/change/").status_code == 403
    assert Media.objects.exists()
    with django_capture_on_commit_callbacks(execute=True):
        boss.post(f"{page}/delete/", {"post": "yes"})
    assert not Media.objects.exists()
    assert not [path for path in folders.rglob("*") if path.is_file()]


def test_the_link_of_the_admin_is_signed(upload: Any, client: Client) -> None:
    assert status(client.get(media_links.sign(upload()).url)) == 200
