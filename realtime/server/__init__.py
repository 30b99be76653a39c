"""The ASGI server's gaps closed; nothing outside this package knows which server it is."""

from __future__ import annotations

import json

CODES = {
    400: "INVALID_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "TIMEOUT",
    413: "TOO_LARGE",
    426: "UPGRADE_REQUIRED",
    431: "HEADERS_TOO_LARGE",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    507: "INSUFFICIENT_STORAGE",
}


def error_body(status: int, message: str) -> bytes:
    """The JSON body of a refusal: the same shape that the API answers with."""
    error = {"code": CODES.get(status, "INVALID_REQUEST"), "message": message}
    return json.dumps({"error": error}, separators=(",", ":")).encode()
