"""The pages that people open."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@require_safe
def console(request: HttpRequest) -> HttpResponse:
    """The console at `/`: a page without data, which speaks to `/ws` like any other client."""
    seen = {"page": "console", "media_max_bytes": settings.MEDIA_MAX_BYTES}
    return render(request, "console.html", seen)


@require_safe
def sessions(request: HttpRequest) -> HttpResponse:
    """Watch and steer sessions; it speaks 002 like any other client."""
    seen = {"page": "sessions", "name": "Sessions", "most": str(settings.SESSION_REPLAY_MAX)}
    return render(request, "sessions.html", seen)


@require_safe
def topics(request: HttpRequest) -> HttpResponse:
    """Subscribe, publish, and a chart; it speaks to `/nexus/ws` like any other client."""
    return render(request, "topics.html", {"page": "topics", "name": "Topics"})


@require_safe
def groups(request: HttpRequest) -> HttpResponse:
    """One group of 003: who is here, and what is said."""
    return render(request, "groups.html", {"page": "groups", "name": "Groups"})


@require_safe
def pairing(request: HttpRequest) -> HttpResponse:
    """The pairing page; it is told how long a code is good, because the wire does not say."""
    return render(request, "pairing.html", {"ttl_s": str(settings.PAIRING_TTL_S)})
