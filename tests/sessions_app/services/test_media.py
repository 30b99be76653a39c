"""Uploads in the database and on the disk: whatever happens, both tell the same."""

from __future__ import annotations

import datetime as dt
import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.db import transaction
from django.utils import timezone

from accounts.models import Account
from realtime.core.errors import (
    Conflict,
    InvalidParams,
    NotFound,
    ResourceExhausted,
    RoleTooLow,
    StorageFull,
    Unavailable,
    UnsupportedMedia,
)
from realtime.core.principal import Principal
from sessions_app.models import Media
from sessions_app.services import media, media_files, media_links
from tests import samples
from tests.sessions_app.services.test_sending_races import in_threads

pytestmark = pytest.mark.usefixtures("folders")

Store = Callable[..., Media]


@pytest.fixture
def store(alice: Principal) -> Store:
    """Upload as alice unless said otherwise."""

    def take(
        content: bytes = samples.png(), filename: str = "dot.png", by: Principal = alice
    ) -> Media:
        with TemporaryUploadedFile("upload", "text/html", 0, None) as file:
            file.write(content)
            file.size = len(content)
            return media.store(principal=by, filename=filename, file=file)

    return take


def stored(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_an_upload_is_a_row_and_a_file_of_a_random_name(store: Store, folders: Path) -> None:
    row = store(samples.png(640, 480), "../My Dot.png")
    assert (row.owner, row.account.slug, row.filename) == ("alice", "default", "My Dot.png")
    assert (row.mime_type, row.kind, row.width, row.height) == ("image/png", "image", 640, 480)
    assert row.size == len(samples.png(640, 480))
    assert row.ready_at
    assert len(row.pk) == 32
    assert stored(folders) == [f"{row.pk[:2]}/{row.pk}"]
    file = folders / row.stored_as
    assert file.read_bytes() == samples.png(640, 480)
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert not list((folders.parent / "incoming").iterdir()), "it was moved"


@pytest.mark.parametrize("role", ["", "viewer"])
def test_less_than_an_operator_uploads_nothing(store: Store, folders: Path, role: str) -> None:
    with pytest.raises(RoleTooLow):
        store(by=Principal(id="alice", role=role))
    assert not stored(folders)


def test_only_an_administrator_may_be_nobody(store: Store, admin: Principal) -> None:
    with pytest.raises(InvalidParams, match="^user_id is required$"):
        store(by=Principal(id="", role="operator"))
    assert store(by=Principal(id="", role="admin")).owner == ""


def test_m01_the_limit_counts_the_file_alone(store: Store, settings: Any) -> None:
    settings.MEDIA_MAX_BYTES = len(samples.png()) + 10
    assert store(samples.png(rest=bytes(10)))
    with pytest.raises(InvalidParams, match="^file too large or invalid multipart form$"):
        store(samples.png(rest=bytes(11)))
    assert Media.objects.count() == 1


def test_m05_what_is_refused_leaves_nothing(store: Store, folders: Path) -> None:
    with pytest.raises(UnsupportedMedia):
        store(samples.png(), "dot.gif")
    with pytest.raises(UnsupportedMedia):
        store(samples.png(30_000, 30_000))
    assert not Media.objects.exists()
    assert not stored(folders)


def test_m08_an_archive_is_stored_and_never_opened(
    store: Store, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zipfile.ZipFile", None)
    bomb = b"PK\x03\x04" + b"\xff" * 4096  # says that it unpacks to four gigabytes
    assert store(bomb, "bomb.zip").kind == "document"


def test_m12_the_quota_counts_a_users_bytes_and_names_them(
    store: Store, settings: Any, bob: Principal, other_alice: Principal
) -> None:
    size = len(samples.png())
    settings.MEDIA_QUOTA_BYTES = 2 * size
    first = store()
    store()
    with pytest.raises(ResourceExhausted) as refused:
        store()
    assert refused.value.details == {"used": 2 * size, "allowed": 2 * size}
    assert f"{2 * size} of {2 * size} bytes are used" in str(refused.value)
    assert store(by=bob) and store(by=other_alice), "theirs are others"
    first.delete()
    assert store()
    settings.MEDIA_QUOTA_BYTES = 0
    assert store(), "0 is no quota"


def test_m12_what_is_only_reserved_counts_too(store: Store, settings: Any) -> None:
    row = store()
    Media.objects.filter(pk=row.pk).update(ready_at=None)
    settings.MEDIA_QUOTA_BYTES = 2 * row.size - 1
    with pytest.raises(ResourceExhausted):
        store()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_m12_of_parallel_uploads_as_many_pass_as_there_is_room_for(
    store: Store, settings: Any
) -> None:
    settings.MEDIA_QUOTA_BYTES = 3 * len(samples.png())
    results = in_threads(8, lambda number: store())
    assert sum(isinstance(one, Media) for one in results) == 3
    assert sum(isinstance(one, ResourceExhausted) for one in results) == 5


class Full(FileSystemStorage):
    """Takes half of a file and is full."""

    number = errno.ENOSPC

    def _save(self, name: str, content: Any) -> str:
        path = Path(self.path(name))
        path.parent.mkdir(parents=True)
        path.write_bytes(content.read(20))
        raise OSError(self.number, os.strerror(self.number))


@pytest.fixture
def broken(settings: Any) -> None:
    row = {**settings.STORAGES["media"], "BACKEND": f"{__name__}.Full"}
    settings.STORAGES = {**settings.STORAGES, "media": row}


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EFBIG, StorageFull),
        (errno.EIO, Unavailable),
    ],
)
def test_m15_a_storage_that_fails_leaves_nothing(
    store: Store,
    folders: Path,
    broken: None,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    error: type[Exception],
) -> None:
    monkeypatch.setattr(Full, "number", number)
    with pytest.raises(error):
        store()
    assert not Media.objects.exists()
    assert not stored(folders)


def test_m15_what_cannot_be_taken_away_at_once_is_swept_later(
    store: Store, folders: Path, broken: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: Any, name: str) -> None:
        raise OSError(errno.EIO, "away")

    with monkeypatch.context() as patch:
        patch.setattr(Full, "delete", away)
        with pytest.raises(StorageFull):
            store()
        Media.objects.update(created_at=timezone.now() - dt.timedelta(hours=2))
        assert media.sweep() == 0
    assert len(stored(folders)) == Media.objects.count() == 1
    assert media.sweep() == 1
    assert not Media.objects.exists()
    assert not stored(folders)


def test_m14_what_a_killed_process_left_goes_after_an_hour(store: Store, folders: Path) -> None:
    young, old, ready = store(), store(), store()
    Media.objects.exclude(pk=ready.pk).update(ready_at=None)
    long_ago = timezone.now() - dt.timedelta(minutes=61)
    Media.objects.exclude(pk=young.pk).update(created_at=long_ago)
    incoming = folders.parent / "incoming"
    (incoming / "fresh.upload").touch()
    (incoming / "old.upload").touch()
    os.utime(incoming / "old.upload", (0, time.time() - 3700))
    assert media.sweep() == 1
    assert set(Media.objects.values_list("pk", flat=True)) == {young.pk, ready.pk}
    assert stored(folders) == sorted([young.stored_as, ready.stored_as])
    assert [path.name for path in incoming.iterdir()] == ["fresh.upload"]
    assert old.pk


def test_an_upload_that_was_swept_meanwhile_is_not_ready(
    store: Store, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = FileSystemStorage.save

    def slow(self: Any, *args: Any) -> str:
        name = save(self, *args)
        Media.objects.all().delete()
        return name

    monkeypatch.setattr(FileSystemStorage, "save", slow)
    with pytest.raises(Conflict):
        store()
    assert not stored(folders)


@pytest.mark.django_db(transaction=True)
def test_a_deleted_row_takes_its_file_along_when_that_is_certain(
    store: Store, folders: Path, admin: Principal
) -> None:
    kept, gone = store(), store()
    with pytest.raises(KeyError), transaction.atomic():
        kept.delete()
        raise KeyError
    gone.delete()
    assert stored(folders) == [Media.objects.get().stored_as]
    other = Account.objects.create(slug="leaving", name="Leaving")
    store(by=Principal(id="alice", account="leaving", role="operator"))
    other.delete()
    assert len(stored(folders)) == 1


# --- who sees what ---


@pytest.mark.parametrize(
    ("who", "sees"),
    [
        ("owner", True),
        ("admin", True),
        ("stranger", False),
        ("other tenant's owner", False),
        ("other tenant's admin", False),
    ],
)
def test_m11_an_upload_is_its_owners_and_the_accounts_administrators(
    store: Store, people: dict[str, Principal], who: str, sees: bool
) -> None:
    row = store()
    for ask in (
        lambda: media.find(principal=people[who], media_id=row.pk),
        lambda: media.link(principal=people[who], media_id=row.pk),
        lambda: media.attached(principal=people[who], media=[{"path": row.pk}]),
    ):
        if sees:
            assert ask()
        else:
            with pytest.raises(NotFound, match=f"^media not found: {row.pk}$"):
                ask()


def test_a_viewer_sees_their_own_and_who_has_no_role_nothing(store: Store) -> None:
    row = store()
    assert media.find(principal=Principal(id="alice", role="viewer"), media_id=row.pk)
    with pytest.raises(RoleTooLow):
        media.find(principal=Principal(id="alice", role=""), media_id=row.pk)


def test_nobodys_uploads_are_not_for_everybody_without_a_name(store: Store) -> None:
    row = store(by=Principal(id="", role="admin"))
    with pytest.raises(NotFound):
        media.find(principal=Principal(id="", role="operator"), media_id=row.pk)


@pytest.mark.parametrize(
    "media_id", ["", "x", "../../etc/passwd", "a\x00", "0" * 32, "a" * 5000, "-a", "٣" * 8]
)
def test_what_is_no_id_is_not_found(admin: Principal, media_id: str) -> None:
    with pytest.raises(NotFound) as refused:
        media.find(principal=admin, media_id=media_id)
    assert len(str(refused.value)) < 120


def test_what_is_not_ready_is_not_found(store: Store, alice: Principal) -> None:
    row = store()
    Media.objects.update(ready_at=None)
    with pytest.raises(NotFound):
        media.find(principal=alice, media_id=row.pk)
    with pytest.raises(NotFound):
        media.linked(media_id=row.pk, ft=media_links.sign(row.pk).ft)


def test_m11_a_link_opens_one_upload_for_five_minutes(store: Store, time_machine: Any) -> None:
    time_machine.move_to("2026-11-21T12:00:00Z", tick=False)
    row, other = store(), store()
    link = media_links.sign(row.pk)
    assert link.url == f"/v1/files/{row.pk}?ft={link.ft}"
    assert link.ft.endswith(f".{int(time.time()) + 300}")
    assert link.expires_at == dt.datetime(2026, 11, 21, 12, 5, tzinfo=dt.UTC)
    assert media.linked(media_id=row.pk, ft=link.ft) == row
    signature, _, expiry = link.ft.partition(".")
    for ft in (
        "",
        ".",
        signature,
        expiry,
        f"{signature}.{int(expiry) + 1}",
        f"{signature}.{expiry} ",
        f"{'A' if signature[0] != 'A' else 'B'}{signature[1:]}.{expiry}",
        f"é.{expiry}",
        media_links.sign(other.pk).ft,
    ):
        with pytest.raises(RoleTooLow, match="not valid or has expired"):
            media.linked(media_id=row.pk, ft=ft)
    time_machine.shift(300)
    with pytest.raises(RoleTooLow):
        media.linked(media_id=row.pk, ft=link.ft)


def test_a_link_is_the_hmac_of_path_and_expiry(settings: Any, time_machine: Any) -> None:
    """PROTOCOLS.md 2.11, with a key of this purpose alone."""
    import base64
    import hashlib
    import hmac

    time_machine.move_to("2026-11-21T12:00:00Z", tick=False)
    expiry = int(time.time()) + 300
    key = hashlib.sha256(b"sessions_app.media_links" + settings.SECRET_KEY.encode()).digest()
    signature = hmac.new(key, f"abc:{expiry}".encode(), hashlib.sha256).digest()
    expected = base64.urlsafe_b64encode(signature).decode().rstrip("=")
    assert media_links.sign("abc").ft == f"{expected}.{expiry}"


# --- in messages ---


def test_a_message_names_its_uploads_in_order(store: Store, alice: Principal) -> None:
    one, two = store(), store(samples.gif(), "b.gif")
    named = [{"path": two.pk, "filename": "mine.exe"}, {"path": one.pk}]
    rows = media.attached(principal=alice, media=named)
    assert rows == [two, one]
    assert media.tagged("look", rows) == "look\n[image: b.gif]\n[image: dot.png]"
    assert media.tagged(" ", rows[:1]) == "[image: b.gif]"


def test_a_message_names_at_most_ten_uploads_and_each_by_its_path(
    store: Store, alice: Principal
) -> None:
    path = {"path": store().pk}
    assert len(media.attached(principal=alice, media=[path] * 10)) == 10
    with pytest.raises(InvalidParams, match="at most 10"):
        media.attached(principal=alice, media=[path] * 11)
    with pytest.raises(InvalidParams, match="media path is required"):
        media.attached(principal=alice, media=[path, {"filename": "x"}])


def test_a_missing_file_is_not_found_and_logged(
    store: Store, folders: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row = store()
    (folders / row.stored_as).unlink()
    with pytest.raises(FileNotFoundError):
        media_files.open_file(row)
    assert "media.file_missing" in caplog.text
