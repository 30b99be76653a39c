"""The OpenAPI document and its page; their errors are JSON, as everywhere else in the API."""

from __future__ import annotations

from typing import Any

from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import APIView


class _ErrorsInJson(APIView):
    """For views whose renderers make something else, of an error too."""

    def handle_exception(self, exc: Exception) -> Response:
        answer = super().handle_exception(exc)
        self.request.accepted_renderer = JSONRenderer()
        self.request.accepted_media_type = JSONRenderer.media_type
        return answer

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        return super().finalize_response(self.request, response, *args, **kwargs)


class Document(_ErrorsInJson, SpectacularAPIView):
    pass


class Page(_ErrorsInJson, SpectacularSwaggerSplitView):
    template_name = "api_docs.html"  # the package's own has a style that the CSP refuses
