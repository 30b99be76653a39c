"""A worker of 002 written from docs/protocols/remote.md alone."""

from __future__ import annotations

from typing import Any

from tests.live.viewer import Viewer

ALLOW = {"behavior": "allow", "updatedInput": {}}


def response(request_id: str, inner: dict[str, Any]) -> dict[str, Any]:
    said = {"subtype": "success", "request_id": request_id, "response": inner}
    return {"type": "control_response", "response": said}


class Worker(Viewer):
    part = "worker"

    async def ready(self, *viewers: Viewer) -> None:
        """It serves the session, and these see what it says: its first word has come by."""
        for viewer in viewers:
            await viewer.entered()
        self.number += 1
        uuid = f"init-{id(self)}-{self.number}"
        await self.send({"type": "system", "subtype": "init", "uuid": uuid})
        for viewer in viewers:
            await viewer.frame(lambda f: f.get("uuid") == uuid)
        await self.entered()  # what comes now is told with its turn, not read after the fact

    number = 0

    async def asked(self, text: str) -> dict[str, Any]:
        """The `user` frame with this text."""
        return await self.frame(lambda f: f["type"] == "user" and f["message"]["content"] == text)

    async def stream(self, text: str) -> None:
        delta = {"type": "text_delta", "text": text}
        event = {"type": "content_block_delta", "index": 0, "delta": delta}
        await self.send({"type": "stream_event", "event": event})

    async def answer(self, text: str, uuid: str) -> None:
        content = [{"type": "text", "text": text}]
        message = {"id": f"msg-{uuid}", "role": "assistant", "model": "m", "content": content}
        await self.send({"type": "assistant", "uuid": uuid, "message": message})

    async def end(self, text: str, uuid: str, **more: Any) -> None:
        usage = {"input_tokens": 3, "output_tokens": 4}
        said = {"subtype": "success", "is_error": False, "result": text, "usage": usage}
        await self.send({"type": "result", "uuid": uuid, **said, **more})

    async def ask(self, request_id: str, tool: str = "Bash") -> None:
        request = {"subtype": "can_use_tool", "tool_name": tool, "tool_use_id": "t", "input": {}}
        await self.send({"type": "control_request", "request_id": request_id, "request": request})
