"""An nginx of our own with the deployed file: only addresses and paths are the test's."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
from collections.abc import Sequence

from tests.services.gateway import ROOT, Serve
from tests.services.process import Service, Unavailable

DEPLOYED = ROOT / "deploy" / "nginx.conf"
# What Debian's main file says around it. A master that is root would give its workers another user,
# to whom the test's folder is closed.
AROUND = """
user {user};
worker_processes 1;
daemon off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    scgi_temp_path scgi;
    uwsgi_temp_path uwsgi;
    include {site};
}}
"""


class Nginx(Service):
    """`deploy/nginx.conf` in front of `servers`; its URLs are named as theirs."""

    def __init__(self, *servers: Serve) -> None:
        # Debian has it outside an ordinary user's path.
        self.binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if self.binary is None:
            raise Unavailable("nginx was not found: install Debian's nginx-light (make setup does)")
        super().__init__()
        self.servers = servers
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}/ws"

    def command(self) -> Sequence[str]:
        site, main = self.folder / "site.conf", self.folder / "nginx.conf"
        site.write_text(self._rendered())
        main.write_text(AROUND.format(user=pwd.getpwuid(os.getuid()).pw_name, site=site))
        return [str(self.binary), "-p", str(self.folder), "-c", str(main)]

    def ready(self) -> bool:
        with socket.socket() as line:
            return line.connect_ex(("127.0.0.1", self.port)) == 0

    def said(self) -> str:
        """All that it has written: to its own log, and to those of the deployed file."""
        logs = self.folder.glob("trunkline.*.log")
        return self.log() + "".join(log.read_text() for log in logs)

    def _rendered(self) -> str:
        text = DEPLOYED.read_text()
        for deployed, here, times in [
            ("    listen 80;", f"    listen 127.0.0.1:{self.port};", 1),
            ("    server 127.0.0.1:8000;", self._upstream(), 1),
            ("/var/log/nginx/", f"{self.folder}/", 2),
        ]:
            assert text.count(deployed) == times, f"{DEPLOYED} does not say {deployed}"
            text = text.replace(deployed, here)
        return text

    def _upstream(self) -> str:
        return "\n".join(f"    server 127.0.0.1:{server.port};" for server in self.servers)
