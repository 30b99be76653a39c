"""What of a message of 002 counts, over whichever door it comes. Source: PROTOCOLS.md 3.3, 3.4."""

from __future__ import annotations

from typing import Any

Frame = dict[str, Any]

MAX_UUID = 128  # characters
MAX_REQUEST_ID = 255  # characters


def uuid_of(frame: Frame) -> str:
    """The client's own name for what it says; "" when it has none that can be kept."""
    given = frame.get("uuid")
    return given if isinstance(given, str) and len(given) <= MAX_UUID else ""


def request_id(holder: Any) -> str:
    """The request's id; "" when there is none that can be kept."""
    given = holder.get("request_id") if isinstance(holder, dict) else None
    return given if isinstance(given, str) and len(given) <= MAX_REQUEST_ID else ""


def is_request(frame: Frame) -> bool:
    """Whether a `control_request` asks for something."""
    request = frame.get("request")
    named = isinstance(request, dict) and isinstance(request.get("subtype"), str)
    return bool(request_id(frame)) and named


def is_response(frame: Frame) -> bool:
    """Whether a `control_response` answers something."""
    response = frame.get("response")
    if not isinstance(response, dict) or not request_id(response):
        return False
    return response.get("subtype") in ("success", "error")


def has_words(frame: Frame) -> bool:
    """Whether a `user` or `assistant` frame says something: a text, or blocks."""
    message = frame.get("message")
    if not isinstance(message, dict):
        return False
    content = message.get("content")
    if isinstance(content, list):
        return bool(content) and all(isinstance(block, dict) for block in content)
    return isinstance(content, str) and bool(content.strip())
