"""An event of a session as 002 shows it; the one place where that is decided. PROTOCOLS.md 3.5."""

from __future__ import annotations

from typing import Any

from realtime.core import wire
from sessions_app.models import Run, Session, SessionEvent
from sessions_app.moments import rfc3339

Frame = dict[str, Any]

Kind = SessionEvent.Kind
STAMPS = ("uuid", "session_id", "created_at")  # what we say ourselves, whoever said the rest


def stored(event: SessionEvent, session: Session) -> Frame:
    """The frame of a stored event: what was said in 002 as it was said, the rest in its shapes."""
    said = event.data.get("frame") or SHAPES[Kind(event.kind)](event)
    if "message" in said:  # which not every client writes
        said = {"parent_tool_use_id": None, **said}
    return said | {
        "uuid": event.uuid,
        "session_id": session.public_id,
        "created_at": rfc3339(event.created_at),
    }


def bare(frame: Frame) -> Frame:
    """What is kept of a frame: all but its stamps."""
    return {name: value for name, value in frame.items() if name not in STAMPS}


def text_of(frame: Frame) -> str:
    """The words of a frame's message: its text, or the texts among its blocks; "" without any."""
    message = frame.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    texts = [one for one in blocks if isinstance(one, dict) and one.get("type") == "text"]
    return "\n".join(str(block.get("text", "")) for block in texts)


def size(frame: Frame) -> int:
    """In bytes on the wire."""
    return len(wire.encode(frame))


def result(run: Run) -> Frame:
    """How a run ended; a client waits for it, and one of them for `total_cost_usd`."""
    good = run.status == Run.Status.COMPLETED
    ended = run.finished_at or run.started_at
    took_ms = max(0, round((ended - run.started_at).total_seconds() * 1000))
    return {
        "type": "result",
        "subtype": "success" if good else "error_during_execution",
        "is_error": not good,
        "result": run.content if good else run.error or "the run was cancelled",
        "duration_ms": took_ms,
        "duration_api_ms": took_ms,
        "num_turns": 1,
        "total_cost_usd": 0,
        "usage": _usage(run.usage),
        "modelUsage": {},
        "permission_denials": [],
        "stop_reason": "end_turn" if good else None,
    }


def counted(usage: Any) -> dict[str, int]:
    """001's counts of what a worker says that it used."""
    given = usage if isinstance(usage, dict) else {}
    counts = [given.get(name) for name in ("input_tokens", "output_tokens")]
    prompt, completion = [one if type(one) is int and one >= 0 else 0 for one in counts]
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _user(event: SessionEvent) -> Frame:
    message = {"role": "user", "content": event.content}
    return {"type": "user", "parent_tool_use_id": None, "message": message}


def _assistant(event: SessionEvent) -> Frame:
    message = {
        "id": f"msg_{event.uuid}",
        "type": "message",
        "role": "assistant",
        "model": event.author,
        "content": [{"type": "text", "text": event.content}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": _usage(event.data.get("usage", {})),
    }
    return {"type": "assistant", "parent_tool_use_id": None, "message": message}


def _tool(event: SessionEvent) -> Frame:
    told = {
        "type": "tool_result",
        "tool_use_id": event.data.get("tool_call_id", ""),
        "content": event.content,
        "is_error": bool(event.data.get("is_error")),
    }
    message = {"role": "user", "content": [told]}
    return {"type": "user", "parent_tool_use_id": None, "message": message}


def _system(event: SessionEvent) -> Frame:
    return {"type": "system", "subtype": "informational", "content": event.content}


def _usage(usage: dict[str, Any]) -> dict[str, int]:
    """001 counts tokens of the prompt and the completion; 002 calls them input and output."""
    return {
        "input_tokens": usage.get("prompt_tokens", 0),
        "output_tokens": usage.get("completion_tokens", 0),
    }


SHAPES = {
    Kind.USER: _user,
    Kind.ASSISTANT: _assistant,
    Kind.TOOL: _tool,
    Kind.SYSTEM: _system,
    Kind.RESULT: _system,
    Kind.EVENT: _system,
}
