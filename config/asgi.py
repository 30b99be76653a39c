"""The application: body cap, trusted proxies, then http: Django, websocket: the gateway, lifespan:
the node.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django

django.setup(set_prefix=False)

from django.conf import settings  # noqa: E402

from config.handler import Handler  # noqa: E402
from realtime import node  # noqa: E402
from realtime.core import waiting  # noqa: E402
from realtime.routing import websocket  # noqa: E402
from realtime.server.body import BodyCap, Limit  # noqa: E402
from realtime.server.proxy import TrustedProxies  # noqa: E402
from sessions_app.services.media import BAD_FORM  # noqa: E402

django_application = Handler()

MULTIPART_BYTES = 64 * 1024  # what a form has beside the file


async def lifespan(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Start this process's node before the first request, and end it after the last."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await node.ensure_started()
            await send({"type": "lifespan.startup.complete"})
        else:
            await node.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def http(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await node.ensure_started()  # servers without lifespan
    # Whoever deletes thousands of rows in the admin waits for it.
    admin = scope["path"].startswith("/admin")
    waiting.answer_within_s.set(waiting.WORK_S if admin else waiting.REQUEST_S)
    await django_application(scope, receive, send)


def route(scope: dict[str, Any], receive: Any, send: Any) -> Awaitable[None]:
    application = {"http": http, "websocket": websocket, "lifespan": lifespan}[scope["type"]]
    return application(scope, receive, send)


UPLOADS = [
    Limit(
        prefix=path,
        most=settings.MEDIA_MAX_BYTES + MULTIPART_BYTES,
        status=400,
        message=BAD_FORM,
        credentials=("authorization", "x-goclaw-sender-id"),
    )
    for path in ("/api/media/upload", "/v1/media/upload")
]

application = TrustedProxies(
    BodyCap(route, limits=UPLOADS, default_max_bytes=settings.HTTP_MAX_BODY_BYTES),
    settings.TRUSTED_PROXIES,
)
