"""002's frames: newline-separated objects in, and what in them counts. Source: PROTOCOLS.md 3.3."""

from __future__ import annotations

from typing import Any

from realtime.core import wire
from realtime.core.errors import MalformedFrame

Frame = dict[str, Any]

MAX_OBJECTS = 1000  # of one frame
MAX_UUID = 128  # characters
MAX_REQUEST_ID = 255  # characters


def decode(text: str | bytes) -> list[Frame]:
    """The objects of a frame, those left out that are none or have no text `type`."""
    try:
        said = [wire.decode(text)]
    except MalformedFrame:
        said = [_decoded(line) for line in _lines(text)]
    return [one for one in said if isinstance(one, dict) and isinstance(one.get("type"), str)]


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
    return response.get("subtype") in {"success", "error"}


def has_words(frame: Frame) -> bool:
    """Whether a `user` or `assistant` frame says something: a text, or blocks."""
    message = frame.get("message")
    if not isinstance(message, dict):
        return False
    content = message.get("content")
    if isinstance(content, list):
        return bool(content) and all(isinstance(block, dict) for block in content)
    return isinstance(content, str) and bool(content.strip())


def blocks(frame: Frame) -> list[Frame]:
    """The content of a message, as blocks."""
    content = frame["message"]["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def partial(data: Frame, session_id: str) -> Frame:
    """A piece of an answer that is still being given, from 001's event."""
    delta = {"type": "text_delta", "text": data["payload"]["content"]}
    return {
        "type": "stream_event",
        "uuid": data["_uuid"],
        "session_id": session_id,
        "created_at": data["_at"],
        "parent_tool_use_id": None,
        "event": {"type": "content_block_delta", "index": 0, "delta": delta},
    }


def refusal(session_id: str, asked: str, text: str) -> Frame:
    refused = {"subtype": "error", "request_id": asked, "error": text}
    return {"type": "control_response", "session_id": session_id, "response": refused}


def _lines(text: str | bytes) -> list[Any]:
    lines: Any = text.split("\n") if isinstance(text, str) else text.split(b"\n")
    return [line for line in lines if line.strip()][:MAX_OBJECTS]


def _decoded(line: str | bytes) -> Any:
    """None for what is no JSON: the other lines count."""
    try:
        return wire.decode(line)
    except MalformedFrame:
        return None
