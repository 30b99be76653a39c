"""The credentials of an agent that asks over HTTP, and what it reads in the answers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any

SECRET, RELAY = "edge-secret-for-tests", "relay-secret-for-tests"
PHONE = "+13238407486"
EDGE_1 = "edge_13238407486"


Post = Callable[..., Any]


def token(agent_id: str = EDGE_1, secret: str = RELAY) -> str:
    text = f"{agent_id}:{PHONE}:{int(time.time())}"
    signature = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return base64.b64encode(f"{text}:{signature}".encode()).decode()


def ids(synced: Any) -> list[str]:
    return [command["command_id"] for command in synced["commands"]]


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["message"]
