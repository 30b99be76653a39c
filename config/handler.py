"""How Django answers an HTTP request: in one turn of one thread.

Django's own handler takes a sync view under middleware that can do both for async, and goes to the
thread and back for each: some fifteen times a request.
"""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponseBase


class Handler(ASGIHandler):
    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        return await sync_to_async(self._answer)(request)

    def _answer(self, request: HttpRequest) -> HttpResponseBase:
        try:
            return self.get_response(request)
        finally:
            # Now, not when the last byte has been read: slow readers of large files would keep
            # everybody else's connections.
            close_old_connections()
