"""Errors of the JSON API: `{"error": {"code", "message", "details"?}}` with the status that fits.
CONTRACT.md, HTTP.
"""

from __future__ import annotations

import math
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.parsers import JSONParser
from rest_framework.response import Response

from realtime.core.errors import (
    GatewayError,
    InternalFault,
    Refuse,
    Unavailable,
    wire_answer,
)

logger = structlog.get_logger("gateway")

_CODES = {
    400: "INVALID_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    406: "NOT_ACCEPTABLE",
    409: "CONFLICT",
    413: "TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_JSON_PATHS = ("/api/", "/v1/", "/edge/")


class Parser(JSONParser):
    """DRF's, for bodies of any depth; `null` is an empty object."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        try:
            given = super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise exceptions.ParseError("JSON is nested too deeply") from None
        return {} if given is None else given


def exception_handler(error: Exception, context: dict[str, Any]) -> Response:
    """DRF's EXCEPTION_HANDLER."""
    if isinstance(error, OperationalError | InterfaceError):
        error = Unavailable("the database does not answer")
    if isinstance(error, GatewayError):
        return _gateway_error(error)
    if isinstance(error, Http404):
        return _response(404, "NOT_FOUND", "not found")
    if isinstance(error, PermissionDenied):
        return _response(403, "FORBIDDEN", "permission denied")
    if isinstance(error, exceptions.APIException):
        return _api_exception(error)
    logger.error("internal_fault", view=type(context.get("view")).__name__, exc_info=error)
    return _gateway_error(InternalFault())


def _gateway_error(error: GatewayError) -> Response:
    answer = wire_answer("http", error)
    status = answer.status if isinstance(answer, Refuse) else 500
    code = _CODES[403] if status == 403 else error.code  # 001 words both refusals alike
    response = _response(status, code, str(error), error.details)
    if status == 401:
        response["WWW-Authenticate"] = "Bearer"
    if error.retry_after_ms is not None:
        response["Retry-After"] = str(math.ceil(error.retry_after_ms / 1000))
    elif status == 503:
        response["Retry-After"] = "2"
    return response


def _api_exception(error: exceptions.APIException) -> Response:
    details = error.detail if isinstance(error, exceptions.ValidationError) else None
    message = _sentence(error.detail)
    code = _CODES.get(error.status_code, "INVALID_REQUEST")
    response = _response(error.status_code, code, message, details)
    if error.status_code == 401:
        response["WWW-Authenticate"] = "Bearer"
    if isinstance(error, exceptions.MethodNotAllowed):
        # DRF sets Allow from the view when it finalises the response.
        response.data["error"]["details"] = {"method": error.args[0] if error.args else ""}
    return response


def _sentence(detail: Any) -> str:
    """The first complaint, with the field's name in front."""
    if isinstance(detail, dict):
        name, inner = next(iter(detail.items()))
        prefix = "" if name == "non_field_errors" else f"{name}: "
        return prefix + _sentence(inner)
    if isinstance(detail, list):
        return _sentence(detail[0]) if detail else "invalid request"
    return str(detail)


def _response(status: int, code: str, message: str, details: Any = None) -> Response:
    return Response(_body(code, message, details), status=status)


def _body(code: str, message: str, details: Any = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    if details is not None:
        error["details"] = details
    return {"error": error}


# --- Django's own error pages, for the paths that programs call ---


def _is_json_path(path: str) -> bool:
    return f"{path}/".startswith(_JSON_PATHS)


@csrf_exempt
def nothing(request: HttpRequest) -> HttpResponse:
    """What no other pattern of the API takes: with DEBUG, Django would show its own page."""
    return JsonResponse(_body("NOT_FOUND", f"nothing answers at {request.path}"), status=404)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if _is_json_path(request.path):
        return JsonResponse(_body("INVALID_REQUEST", "bad request"), status=400)
    return defaults.bad_request(request, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    if _is_json_path(request.path):
        return JsonResponse(_body("FORBIDDEN", "permission denied"), status=403)
    return defaults.permission_denied(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if _is_json_path(request.path):
        return nothing(request)
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    if _is_json_path(request.path):
        return JsonResponse(_body("INTERNAL", "internal error"), status=500)
    return defaults.server_error(request)
