"""The first steps of an administrator who has just typed `make run`, with lines to copy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.admin.scope import acting
from realtime.routing import PROTOCOLS

MANAGE = ".venv/bin/python manage.py"

# How a shell talks to each protocol that has clients of its own; {base}: this server's address.
LINES = {
    "goclaw": (
        "Chat on the gateway protocol (001)",
        "{{ printf '%s\\n'"
        """ '{{"type":"req","id":"1","method":"connect","params":{{"token":"'$KEY'"}}}}'"""
        """ '{{"type":"req","id":"2","method":"chat.send","params":{{"message":"hello"}}}}';"""
        " sleep 2; }} | .venv/bin/python -m websockets {socket}/ws",
    ),
    "aether": (
        "A word to a group (003), which comes back: whoever is in the group hears it",
        "{{ printf '%s\\n'"
        """ '{{"msg_type":"msg","target":"group","msg":"hello"}}'; sleep 2; }}"""
        " | .venv/bin/python -m websockets"
        ' "{socket}/v3/ws/group/team/client/laptop?api_key=$KEY"',
    ),
    "remote": (
        "A session (002), a word in it, and its log: who watches it sees the same",
        """SESSION=$(curl -sS -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json'"""
        """ -d '{{"events":[{{"type":"user","message":{{"role":"user","content":"hello"}}}}]}}'"""
        """ {base}/v1/sessions | sed 's/.*"id": *"\\(session_[^"]*\\).*/\\1/'); sleep 2;"""
        """ curl -sS -H "Authorization: Bearer $KEY" {base}/v1/sessions/$SESSION/events""",
    ),
    "edge": (
        "A command for an edge agent (000), which then comes for five seconds and prints it",
        f"{MANAGE} send_command edge_15551234567 send_message_now"
        """ '{{"thread_id":"t","text":"hello"}}' && EDGE_SECRET=$("""
        f"{MANAGE} rotate_agent_secret edge_15551234567 --json"
        ' | sed \'s/.*"secret": *"\\([^"]*\\).*/\\1/\')'
        " PYTHONPATH=clients/python timeout 5 .venv/bin/python -m trunkline_client edge"
        " --url {socket} --agent-id edge_15551234567 --ledger $(mktemp -d)/ledger.sqlite3",
    ),
    "nexus": (
        "Publish on a topic (004), and hear it",
        f"TOKEN=$({MANAGE} issue_nexus_token usr_1 --json"
        """ | sed 's/.*"token": *"\\([^"]*\\)".*/\\1/'); {{ printf '%s\\n'"""
        """ '{{"action":"subscribe","channel":"telemetry","filters":{{"cpu":7}}}}'"""
        """ '{{"action":"publish","channel":"telemetry","payload":{{"cpu":7}}}}';"""
        " sleep 2; }} | .venv/bin/python -m websockets"
        ' "{socket}/nexus/ws?token=$TOKEN"',
    ),
}


@dataclass(frozen=True, slots=True)
class Line:
    """`text` can be pasted into a shell in the project's folder as it stands."""

    what: str
    text: str


def lines(base: str) -> list[Line]:
    """A person, a key, and a word on each protocol that is served. `base`: `http://host:port`."""
    spoken = [LINES[protocol.name] for protocol in PROTOCOLS if protocol.name in LINES]
    socket = base.replace("http", "ws", 1)
    return [
        Line("A person", f"{MANAGE} create_user alice --password 'choose-your-own-words'"),
        Line(
            "A key of theirs, kept in $KEY: shown this once",
            f"KEY=$({MANAGE} create_api_key laptop --user alice --json"
            ' | sed \'s/.*"key": *"\\([^"]*\\)".*/\\1/\'); echo $KEY',
        ),
        *(Line(what, text.format(base=base, socket=socket)) for what, text in spoken),
        Line(
            "Upload a file",
            "printf '%%PDF-1.4\\n%%%%EOF\\n' | curl -sS -H \"Authorization: Bearer $KEY\""
            f" -F 'file=@-;filename=hello.pdf' {base}/v1/media/upload",
        ),
        Line(
            "Ask the API",
            f'curl -sS -H "Authorization: Bearer $KEY" {base}/api/auth/keys/',
        ),
    ]


def going_live() -> list[dict[str, Any]]:
    """What to set before strangers come, as `.env` has it, and whether it is set now."""
    embedded = settings.EMBEDDED
    return [
        {
            "what": "The names that this server answers to",
            "line": "ALLOWED_HOSTS=gateway.example.com",
            "done": not set(settings.ALLOWED_HOSTS) <= {"localhost", "127.0.0.1", "[::1]"},
        },
        {
            "what": "Pages of other origins that may connect (its own always may)",
            "line": "ALLOWED_ORIGINS=https://app.example.com",
            "done": bool(settings.ALLOWED_ORIGINS) and "*" not in settings.ALLOWED_ORIGINS,
        },
        {
            "what": "A database for several processes",
            "line": "DATABASE_URL=postgres://user:password@host/trunkline",
            "done": not embedded,
        },
        {
            "what": "A bus between them",
            "line": "REDIS_URL=redis://host:6379/0",
            "done": bool(settings.REDIS_URL),
        },
        {
            "what": "The proxy that ends TLS, so that addresses are the peers' own",
            "line": "TRUSTED_PROXIES=10.0.0.0/8",
            "done": bool(settings.TRUSTED_PROXIES),
        },
    ]


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """For administrators; only superusers see what is set already, which is every tenant's."""
    principal = acting(request)
    if not principal.is_admin:
        raise PermissionDenied
    base = f"{request.scheme}://{request.get_host()}"
    context = {
        **admin.site.each_context(request),
        "title": "First steps",
        "lines": lines(base),
        "going_live": going_live(),
        "shows_state": principal.is_superuser,
        "manage": MANAGE,
        "debug": settings.DEBUG,
    }
    return render(request, "admin/welcome.html", context)
