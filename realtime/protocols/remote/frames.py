"""002's frames: newline-separated objects in, one object out. Source: PROTOCOLS.md 3.3, 3.5."""

from __future__ import annotations

from typing import Any

from realtime.core import session_messages as messages
from realtime.core import wire
from realtime.core.errors import MalformedFrame, NotJson
from realtime.core.session_messages import Frame

MAX_OBJECTS = 1000  # of one frame
REFUSED = "\0refused"  # the type of what stands for a frame that cannot be kept; no peer can say it
KEEP_ALIVE: Frame = {"type": "keep_alive"}


def decode(text: str | bytes) -> list[Frame]:
    """The objects of a frame, those left out that are none or have no text `type`."""
    try:
        said = [wire.parse(text)]
    except NotJson:
        said = [_parsed(line) for line in _lines(text)]
    typed = [one for one in said if isinstance(one, dict) and isinstance(one.get("type"), str)]
    return [_judged(one) for one in typed]


def blocks(frame: Frame) -> list[Frame]:
    """The content of a message, as blocks."""
    content = frame["message"]["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def live(data: Frame, session_id: str) -> Frame:
    """001's event of a run, as what is shown in 002 and not stored."""
    stamps = {"uuid": data["_uuid"], "session_id": session_id, "created_at": data["_at"]}
    return LIVE[data["type"]](data["payload"]) | stamps


def _partial(payload: Frame) -> Frame:
    """A piece of an answer that is still being given."""
    delta = {"type": "text_delta", "text": payload["content"]}
    event = {"type": "content_block_delta", "index": 0, "delta": delta}
    return {"type": "stream_event", "parent_tool_use_id": None, "event": event}


def _retrying(payload: Frame) -> Frame:
    return {"type": "system", "subtype": "status", "status": "retrying", **payload}


# The kinds of 001's events that viewers are shown while they happen.
LIVE = {"chunk": _partial, "run.retrying": _retrying}


def refusal(session_id: str, asked: str, text: str) -> Frame:
    refused = {"subtype": "error", "request_id": asked, "error": text}
    return {"type": "control_response", "session_id": session_id, "response": refused}


def known(session_id: str, asked: str) -> Frame:
    """To who says again what is stored: nobody is told of it a second time."""
    answered = {"subtype": "success", "request_id": asked, "response": {}}
    return {"type": "control_response", "session_id": session_id, "response": answered}


def _lines(text: str | bytes) -> list[Any]:
    lines: Any = text.split("\n") if isinstance(text, str) else text.split(b"\n")
    return [line for line in lines if line.strip()][:MAX_OBJECTS]


def _parsed(line: str | bytes) -> Any:
    """None for what is no JSON: the other lines count."""
    try:
        return wire.parse(line)
    except NotJson:
        return None


def _judged(frame: Frame) -> Frame:
    """What no later stage could carry is refused by its name, if it has one: it is not kept."""
    try:
        wire.sanitize(frame)
    except MalformedFrame as error:
        name = messages.uuid_of(frame) or messages.request_id(frame)
        return {"type": REFUSED, "name": name.replace("\0", ""), "why": str(error)}
    return frame
