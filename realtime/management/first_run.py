"""What a newcomer needs: the first administrator, and the addresses to open."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model

ADMIN = "admin"


def greeting(*, host: str, port: int) -> str:
    """Make the first administrator if there is none; the addresses and what to do first."""
    base = f"http://{'127.0.0.1' if host in {'0.0.0.0', '::'} else host}:{port}"
    password = _first_administrator() or "(as you set it)"
    return f"""
  Trunkline is ready.

  console    {base}/
  admin      {base}/admin/      user {ADMIN}, password {password}
  API        {base}/api/docs/

  gateway token (keep it; it is an administrator's):
             {settings.GATEWAY_TOKEN}

  First steps, with lines to copy: {base}/admin/welcome/
  In short: open the console, enter a user id, choose "Pair this browser";
  approve the code under admin > Pairings; chat.

  001 by hand, pasted within {settings.CONNECT_TIMEOUT_S:g} s, with the token from above:
    .venv/bin/python -m websockets {base.replace("http", "ws")}/ws
    {{"type":"req","id":"1","method":"connect","params":{{"token":"…","user_id":"me"}}}}
    {{"type":"req","id":"2","method":"chat.send","params":{{"message":"hello","stream":true}}}}

  000, an agent that prints what `manage.py send_command edge_15551234567 …` sends it:
    EDGE_SECRET={settings.EDGE_SECRET} PYTHONPATH=clients/python \\
      .venv/bin/python -m trunkline_client edge \\
      --url {base.replace("http", "ws")} --agent-id edge_15551234567

  002, sessions: {base}/sessions/; by hand and from programs: docs/protocols/remote.md

  003, groups, with what `manage.py create_api_key try --user {ADMIN}` says:
    .venv/bin/python -m websockets \\
      "{base.replace("http", "ws")}/v3/ws/group/team/client/laptop?api_key=…"
    {{"msg_type":"msg","target":"group","msg":"hello"}}

  004, topics, with what `manage.py issue_nexus_token me` says:
    .venv/bin/python -m websockets "{base.replace("http", "ws")}/nexus/ws?token=…"
    {{"action":"subscribe","channel":"telemetry"}}
    {{"action":"publish","channel":"telemetry","payload":{{"cpu":7}}}}
"""


def _first_administrator() -> str:
    """Make the administrator if there is no user yet; the password that was generated, else ""."""
    users = get_user_model()._default_manager
    path = Path(settings.TRUNKLINE_HOME) / "secrets" / "admin_password"
    if not users.exists():
        password = secrets.token_urlsafe(12)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(password)
        users.create_superuser(ADMIN, password=password)
    if not path.is_file():
        return ""
    password = path.read_text()
    user = users.filter(username=ADMIN).first()
    return password if user is not None and user.check_password(password) else ""
