"""Typed reading of settings: a wrong value is refused by name, with what was given and what is
allowed.

Only `config/settings.py` uses this.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import re
import secrets
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T", int, float)


class Environment:
    """The process environment over a `.env` file; every method reads one setting."""

    def __init__(self, root: Path) -> None:
        self._env = environ.Env()
        if (root / ".env").is_file():
            environ.Env.read_env(root / ".env")

    def text(self, name: str, default: str = "") -> str:
        return os.environ.get(name, default).strip()

    def choice(self, name: str, default: str, allowed: Sequence[str]) -> str:
        value = self.text(name, default)
        if value not in allowed:
            raise refused(name, value, "one of " + ", ".join(allowed))
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self.text(name, "on" if default else "off").lower()
        if value not in _FLAGS:
            raise refused(name, value, "on or off")
        return _FLAGS[value]

    def whole(self, name: str, default: int, *, least: int = 0, most: int = 2**53) -> int:
        return self._number(name, default, int, least, most, "a whole number")

    def seconds(self, name: str, default: float, *, least: float = 0, most: float = 1e9) -> float:
        return self._number(name, default, float, least, most, "seconds")

    def items(self, name: str, default: Sequence[str] = ()) -> list[str]:
        """A comma-separated list; empty entries are dropped."""
        given = os.environ.get(name)
        if given is None:
            return list(default)
        return [item.strip() for item in given.split(",") if item.strip()]

    def hosts(self, name: str, default: Sequence[str]) -> list[str]:
        """Host names and addresses as Django's ALLOWED_HOSTS takes them: without a port."""
        values = [value.lower() for value in self.items(name, default)]
        allowed = "host names such as chat.example.com or .example.com, addresses, or *"
        if not values:
            raise refused(name, "an empty value", allowed)
        for value in values:
            if value != "*" and not _HOST.fullmatch(value.removeprefix(".")):
                raise refused(name, value, allowed)
        return values

    def origins(self, name: str) -> list[str]:
        """Exact origins as browsers say them (lower case, no default port), or `*`."""
        return [value if value == "*" else _origin(name, value) for value in self.items(name)]

    def home(self, name: str, default: Path) -> Path:
        """A directory that nobody else may enter: made, or closed if it is ours to close."""
        path = Path(self.text(name) or default).absolute()
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = path.stat()
            if found.st_mode & stat.S_ISVTX:  # such as /tmp: not ours to close
                raise refused(name, str(path), "a directory of its own, not a shared one")
            if found.st_uid == os.geteuid() and found.st_mode & 0o077:
                path.chmod(0o700)
        except OSError as error:
            raise refused(name, str(path), "a directory that can be made and used") from error
        return path

    def networks(self, name: str) -> list[str]:
        values = self.items(name)
        for value in values:
            try:
                ipaddress.ip_network(value, strict=False)
            except ValueError as error:
                raise refused(name, value, "addresses or networks such as 10.0.0.0/8") from error
        return values

    def database(self, name: str, default: str) -> dict[str, object]:
        url = self.text(name) or default
        allowed = "sqlite:///path or postgres://user:password@host/name"
        scheme, separator, _ = url.partition("://")
        if not separator or scheme not in {"sqlite", "postgres", "postgresql", "psql"}:
            raise refused(name, _without_password(url), allowed)
        try:
            found = dict(environ.Env.db_url_config(url))
        except (ValueError, TypeError, KeyError) as error:
            raise refused(name, _without_password(url), allowed) from error
        if found["NAME"] in {"", ":memory:"}:  # in memory, each thread would have its own
            raise refused(name, _without_password(url), allowed)
        return found

    def redis(self, name: str) -> str:
        url = self.text(name)
        allowed = "redis://host:port, rediss://host:port or unix:///path"
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018 - raises on a port that is none
        except ValueError as error:
            raise refused(name, _without_password(url), allowed) from error
        if url and parts.scheme not in {"redis", "rediss", "unix"}:
            raise refused(name, _without_password(url), allowed)
        return url

    def media_storage(self, name: str, folder: Path) -> dict[str, object]:
        """Where uploads are kept, as a row of Django's STORAGES: `folder`, or a bucket of S3."""
        url = self.text(name)
        if not url:
            modes = {"file_permissions_mode": 0o600, "directory_permissions_mode": 0o700}
            return {
                "BACKEND": "django.core.files.storage.FileSystemStorage",
                "OPTIONS": {"location": folder, **modes},
            }
        options = _bucket(name, url)
        if not all(importlib.util.find_spec(package) for package in ("storages", "boto3")):
            raise ImproperlyConfigured(
                f"{name} names a bucket, which needs more packages:"
                " pip install -r requirements-s3.in, or unset it to keep uploads in TRUNKLINE_HOME."
            )
        return {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}

    def secret(self, name: str, home: Path, *, generate: bool, default: str = "") -> str:
        """A secret from NAME, from the file named by NAME_FILE, or generated once into `home`.

        With `generate` off (a shared database: several hosts must agree) an unset secret is
        refused.
        """
        if name in os.environ:
            value = self.text(name)
            if not value:
                raise refused(name, "an empty value", "a long random text, or leave it unset")
            return value
        file = self.text(f"{name}_FILE")
        if file:
            return _read_secret(f"{name}_FILE", Path(file))
        if default:
            return default
        if not generate:
            raise ImproperlyConfigured(
                f"{name} is not set: with a PostgreSQL DATABASE_URL every process must share it."
                f" Set {name} or {name}_FILE."
            )
        return _generated(home / "secrets" / name.lower())

    def given_secret(self, name: str) -> str:
        """A secret that others have made, from NAME or the file named by NAME_FILE; "" if unset."""
        file = self.text(f"{name}_FILE")
        return self.text(name) or (_read_secret(f"{name}_FILE", Path(file)) if file else "")

    def _number(
        self, name: str, default: T, kind: Callable[[str], T], least: T, most: T, unit: str
    ) -> T:
        given = self.text(name)
        if not given:
            return default
        allowed = f"{unit} from {_plain(least)} to {_plain(most)}"
        try:
            value = kind(given)
        except ValueError as error:
            raise refused(name, given, allowed) from error
        if not least <= value <= most:
            raise refused(name, given, allowed)
        return value


_FLAGS = {
    **dict.fromkeys(("on", "true", "1", "yes"), True),
    **dict.fromkeys(("off", "false", "0", "no"), False),
}


def refused(name: str, given: str, allowed: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name}: {given!r} is not allowed; it takes {allowed}.")


_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\]")
_ORIGIN = re.compile(rf"(https?)://({_HOST.pattern})(?::([0-9]{{1,5}}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def _origin(name: str, given: str) -> str:
    found = _ORIGIN.fullmatch(given.lower())
    port = int(found[3]) if found and found[3] else None
    if found is None or port is not None and not 0 < port < 65536:
        raise refused(name, given, "exact origins such as https://chat.example.com, or *")
    scheme, host = found[1], found[2]
    if port in {None, _DEFAULT_PORTS[scheme]}:  # browsers leave it out
        return f"{scheme}://{host}"
    return f"{scheme}://{host}:{port}"


def _bucket(name: str, url: str) -> dict[str, object]:
    """The options of `s3://bucket/prefix?endpoint_url=…&region_name=…`, all but bucket optional."""
    allowed = "s3://bucket[/prefix][?endpoint_url=https://…&region_name=…], without keys in it"
    try:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    except ValueError as error:
        raise refused(name, _without_password(url), allowed) from error
    known = query.keys() <= {"endpoint_url", "region_name"}
    if parts.scheme != "s3" or not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", parts.netloc) or not known:
        raise refused(name, _without_password(url), allowed)
    return {
        "bucket_name": parts.netloc,
        "location": parts.path.strip("/"),
        "max_memory_size": 64 * 1024,  # bytes, then on disk
        **query,
    }


def _plain(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"…@{tail}" if at else url


def _read_secret(name: str, path: Path) -> str:
    try:
        value = path.read_text().strip()
    except OSError as error:
        raise refused(name, str(path), "the path of a readable file") from error
    if not value:
        raise refused(name, str(path), "a file with the secret in it")
    return value


def _generated(path: Path) -> str:
    """The secret at `path`, made at the first run; two processes that start together agree."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(48))
    try:
        os.link(fresh, path)  # atomic: only the first wins, and nobody reads half a secret
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    return _read_secret(str(path), path)
