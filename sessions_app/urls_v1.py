"""Paths below `/v1/`, each with and without the final slash. Source: PROTOCOLS.md 2.11,
3.6.
"""

from __future__ import annotations

from django.urls import re_path

from sessions_app import media_api, sessions_api

_ID = "(?P<media_id>[a-zA-Z0-9][a-zA-Z0-9._-]*)"

_SESSION = r"^sessions/(?P<session_id>[^/\x00]+)"
_ENVIRONMENTS = (
    r"^environment_providers/private/organizations/(?P<organization>[^/\x00]+)/environments"
)

urlpatterns = [
    re_path(r"^sessions/?$", sessions_api.Sessions.as_view()),
    re_path(rf"{_SESSION}/?$", sessions_api.Session.as_view()),
    re_path(rf"{_SESSION}/archive/?$", sessions_api.Archive.as_view()),
    re_path(rf"{_SESSION}/events/?$", sessions_api.Events.as_view()),
    re_path(rf"{_SESSION}/pass/?$", sessions_api.Pass.as_view()),
    re_path(rf"{_SESSION}/watchers/?$", sessions_api.Watchers.as_view()),
    re_path(rf"{_SESSION}/share-status/?$", sessions_api.Share.as_view()),
    re_path(rf"{_ENVIRONMENTS}/?$", sessions_api.Environments.as_view()),
    re_path(rf"{_ENVIRONMENTS}/(?P<environment>[^/\x00]+)/?$", sessions_api.Environment.as_view()),
    re_path(r"^media/upload/?$", media_api.SameUploadView.as_view()),
    re_path(rf"^media/{_ID}/?$", media_api.DownloadView.as_view()),
    re_path(r"^files/sign/?$", media_api.SignView.as_view()),
    re_path(rf"^files/{_ID}/?$", media_api.SameDownloadView.as_view()),
]
