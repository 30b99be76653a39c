"""Paths below `/v1/`, each with and without the final slash. Source: PROTOCOLS.md 2.11."""

from __future__ import annotations

from django.urls import re_path

from sessions_app import media_api

_ID = "(?P<media_id>[a-zA-Z0-9][a-zA-Z0-9._-]*)"

urlpatterns = [
    re_path(r"^media/upload/?$", media_api.SameUploadView.as_view()),
    re_path(rf"^media/{_ID}/?$", media_api.DownloadView.as_view()),
    re_path(r"^files/sign/?$", media_api.SignView.as_view()),
    re_path(rf"^files/{_ID}/?$", media_api.SameDownloadView.as_view()),
]
