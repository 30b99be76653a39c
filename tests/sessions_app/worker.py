"""A worker of alice's session `s`, as the process that has its socket knows it."""

from __future__ import annotations

from typing import Any

from realtime.core.principal import Principal
from sessions_app.services import presence, workers

WORKER = "w-1"


def arrive(principal: Principal, node: str, connection: str = WORKER) -> None:
    presence.arrive(
        principal=principal,
        connection=connection,
        node=node,
        protocol=workers.PROTOCOL,
        client_id=workers.PART,
    )


def hold(principal: Principal, node: str, connection: str = WORKER, **fields: Any) -> Any:
    arrive(principal, node, connection)
    return workers.hold(
        principal=principal, node=node, session_id="s", connection=connection, **fields
    )


def says(
    principal: Principal, frame: dict[str, Any], connection: str = WORKER, told: int = 0
) -> Any:
    return workers.say(
        principal=principal,
        session_id="s",
        connection=connection,
        frame=frame,
        event_uuid=frame.get("uuid", ""),
        told=told,
    )


def words(text: str, uuid: str = "") -> dict[str, Any]:
    message = {"role": "assistant", "content": [{"type": "text", "text": text}]}
    return {"type": "assistant", "uuid": uuid, "message": message}


def result(text: str = "", uuid: str = "", **more: Any) -> dict[str, Any]:
    return {"type": "result", "uuid": uuid, "is_error": False, "result": text, **more}


def question(request_id: str = "q-1", tool: str = "Bash") -> dict[str, Any]:
    request = {"subtype": "can_use_tool", "tool_name": tool, "tool_use_id": "t", "input": {}}
    return {"type": "control_request", "request_id": request_id, "request": request}
