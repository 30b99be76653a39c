"""Typed reading of settings: a wrong value is refused by name, with what was given and what is
allowed.

Only `config/settings.py` uses this.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

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

    def origins(self, name: str) -> list[str]:
        """Exact origins (`https://host[:port]`, lower-cased), or `*`."""
        values = [value.lower() for value in self.items(name)]
        for value in values:
            if value != "*" and not _is_origin(value):
                raise refused(name, value, "exact origins such as https://chat.example.com, or *")
        return values

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
        if url.split(":", 1)[0] not in {"sqlite", "postgres", "postgresql", "psql"}:
            raise refused(name, _without_password(url), "sqlite:///… or postgres://…")
        try:
            return dict(environ.Env.db_url_config(url))
        except (ValueError, TypeError, KeyError) as error:
            raise refused(name, _without_password(url), "a database URL") from error

    def redis(self, name: str) -> str:
        url = self.text(name)
        if url and urlsplit(url).scheme not in {"redis", "rediss", "unix"}:
            raise refused(name, _without_password(url), "redis://, rediss:// or unix://")
        return url

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

    def _number(
        self, name: str, default: T, kind: Callable[[str], T], least: T, most: T, unit: str
    ) -> T:
        given = self.text(name)
        if not given:
            return default
        allowed = f"{unit} from {least:g} to {most:g}"
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


def _is_origin(value: str) -> bool:
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - raises on a port that is none
    except ValueError:
        return False
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and "@" not in parts.netloc
        and value == f"{parts.scheme}://{parts.netloc}"
    )


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
