"""A PostgreSQL cluster of our own: trusting, loopback only, quick rather than crash-safe."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from tests.services.given import Given
from tests.services.process import Service, Unavailable

DEBIAN_FOLDERS = Path("/usr/lib/postgresql")


class Databases:
    """Makes and drops databases on the server at `url`."""

    url: str

    def create_database(self, template: str = "template1") -> str:
        """A new database, a copy of `template`; its URL."""
        name = f"trunkline_{secrets.token_hex(6)}"
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, template)
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    def drop_database(self, url: str) -> None:
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", database_name(url))

    def _execute(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.url, autocommit=True, connect_timeout=10) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


class Postgres(Databases, Service):
    """A cluster on its own port; its data stays over `kill` and `restart`."""

    SETTINGS: ClassVar[dict[str, str]] = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "max_connections": "300",
        "fsync": "off",  # but commits are synchronous: what was committed outlives a killed server
        "full_page_writes": "off",
    }

    def __init__(self) -> None:
        self.binaries = find_binaries()
        super().__init__()
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/postgres"
        self._data = self.folder / "data"
        self._as_owner: list[str] = []
        if os.geteuid() == 0:
            self._give_away()

    def start(self) -> Postgres:
        if not self._data.exists():
            self._initialise()
        return super().start()

    def command(self) -> Sequence[str]:
        settings = [f"--{name}={value}" for name, value in self.SETTINGS.items()]
        server = [str(self.binaries / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        return [*self._as_owner, *server, *settings]

    def ready(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _give_away(self) -> None:
        """The server refuses to run as root: run it as the packaged user, in a folder it owns."""
        if not shutil.which("setpriv"):
            raise Unavailable(
                "PostgreSQL does not run as root, and there is no setpriv to leave it"
            )
        for name in ("postgres", "nobody"):
            try:
                owner = pwd.getpwnam(name)
            except KeyError:
                continue
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
            ids = [f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
            self._as_owner = ["setpriv", *ids]
            return
        raise Unavailable("PostgreSQL does not run as root, and there is no user postgres")

    def _initialise(self) -> None:
        arguments = ["-U", "postgres", "--auth=trust", "--no-sync"]
        form = ["--encoding=UTF8", "--locale=C.UTF-8"]
        done = subprocess.run(
            [*self._as_owner, self.binaries / "initdb", "-D", self._data, *arguments, *form],
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise Unavailable(f"initdb: {done.stdout}{done.stderr}")


class GivenPostgres(Databases, Given):
    """The server that TEST_DATABASE_URL names."""


def find_binaries() -> Path:
    """The folder with `initdb` and `postgres`: Debian's newest, else the one on PATH."""
    versions = [path.parent for path in DEBIAN_FOLDERS.glob("*/bin/initdb")]
    if versions:
        return max(versions, key=lambda path: [int(part) for part in re.findall(r"\d+", str(path))])
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    raise Unavailable(
        "PostgreSQL was not found: install Debian's postgresql (make setup does),"
        " or name a server in TEST_DATABASE_URL"
    )


def database_name(url: str) -> str:
    return urlsplit(url).path.lstrip("/")
