"""manage.py serve: web and sockets in one process, on uvicorn with our own protocol classes."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import structlog
import uvicorn
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from realtime import node
from realtime.health import pending_migrations
from realtime.management import first_run
from realtime.server.drain import GatewayServer, raise_open_file_limit
from realtime.server.http import GatewayHttpProtocol
from realtime.server.websocket import GatewayWebSocketProtocol

logger = structlog.get_logger("gateway")

FEW_FILES = 1024


class Command(BaseCommand):
    help = "Serve the web pages, the API and every WebSocket protocol."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=_port, default=8000)
        parser.add_argument("--workers", type=int, default=1)
        parser.add_argument(
            "--drain-s",
            type=float,
            default=settings.DRAIN_S,
            help="seconds to leave within on SIGTERM",
        )
        parser.add_argument(
            "--no-dispatcher",
            action="store_true",
            help="leave due commands to other processes (manage.py dispatch_commands)",
        )
        parser.add_argument(
            "--bootstrap",
            action="store_true",
            help="migrate, make the first administrator, and print what a newcomer needs",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["workers"] != 1:
            raise CommandError(
                "--workers takes 1: run one serve process for each core, on a shared REDIS_URL"
                " and DATABASE_URL, each with its own --port, behind a proxy"
            )
        node.dispatches = not options["no_dispatcher"]
        greeting = ""
        if options["bootstrap"]:
            call_command("migrate", interactive=False, verbosity=0)
            greeting = first_run.greeting(host=options["host"], port=options["port"])
        elif pending_migrations():
            raise CommandError("the database is not up to date: run manage.py migrate first")
        open_files = raise_open_file_limit()
        if open_files < FEW_FILES:
            logger.warning("serve.few_open_files", limit=open_files)
        server = GatewayServer(
            _configuration(options["host"], options["port"]),
            drain_s=options["drain_s"],
            on_drain=_drain,
            # Not before the port is ours: its addresses might be another program's.
            on_started=lambda: self._say(greeting),
        )
        server.run()
        if not server.started:
            sys.exit(1)

    def _say(self, greeting: str) -> None:
        if greeting:
            self.stdout.write(greeting)
            self.stdout.flush()


async def _drain(within_s: float) -> None:
    current = node.current()
    if current is not None:
        await current.drain(within_s)


def _configuration(host: str, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        "config.asgi:application",
        host=host,
        port=port,
        http=GatewayHttpProtocol,
        ws=GatewayWebSocketProtocol,
        lifespan="on",
        proxy_headers=False,  # realtime.server.proxy decides who is trusted
        server_header=False,
        access_log=False,  # its lines carry query strings
        log_config=None,
        ws_max_size=1024 * 1024,
        ws_ping_interval=settings.PING_INTERVAL_S,
        ws_ping_timeout=settings.PING_TIMEOUT_S,
        ws_per_message_deflate=settings.WS_DEFLATE,
    )


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port; it takes 0 to 65535")
    return port
