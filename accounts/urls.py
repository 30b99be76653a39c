"""Paths below `/api/`, each with and without the final slash."""

from __future__ import annotations

from django.urls import re_path

from accounts import api

urlpatterns = [
    re_path(r"^auth/token/?$", api.TokenView.as_view()),
    re_path(r"^auth/(?:token/)?refresh/?$", api.RefreshView.as_view()),
    re_path(r"^auth/(?:token/)?revoke/?$", api.RevokeView.as_view()),
    re_path(r"^auth/keys/?$", api.KeysView.as_view()),
    re_path(r"^auth/keys/(?P<key_id>[0-9]+)/?$", api.KeyView.as_view()),
    re_path(r"^pairings/?$", api.PairingsView.as_view()),
    re_path(r"^pairings/(?P<code>[^/\x00]+)/approve/?$", api.ApproveView.as_view()),
    re_path(r"^pairings/(?P<code>[^/\x00]+)/deny/?$", api.DenyView.as_view()),
    re_path(r"^pairings/(?P<sender_id>[^/\x00]+)/revoke/?$", api.RevokePairingView.as_view()),
]
