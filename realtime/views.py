"""The pages that people open."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@require_safe
def console(request: HttpRequest) -> HttpResponse:
    """The console at `/`: a page without data, which speaks to `/ws` like any other client."""
    return render(request, "console.html")
