"""Paths below `/api/`, each with and without the final slash."""

from __future__ import annotations

from django.urls import re_path

from sessions_app import api, media_api

urlpatterns = [
    re_path(r"^connections/?$", api.ConnectionList.as_view()),
    re_path(r"^media/upload/?$", media_api.UploadView.as_view()),
    re_path(
        r"^connections/(?P<connection>[^/\x00]+)/disconnect/?$", api.ConnectionDisconnect.as_view()
    ),
    re_path(r"^connections/(?P<connection>[^/\x00]+)/message/?$", api.ConnectionMessage.as_view()),
]
