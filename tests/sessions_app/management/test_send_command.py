from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from sessions_app.models import ScheduledCommand
from tests.sessions_app.edge import Agent


def run(*arguments: str, stderr: Any = None) -> str:
    out = io.StringIO()
    call_command("send_command", *arguments, stdout=out, stderr=stderr or io.StringIO())
    return out.getvalue()


def test_it_queues_and_says_so_in_one_line_of_json(accounts: None) -> None:
    text = run("edge_1", "set_rule", '{"text": "hey 💙"}', "--json")
    command = ScheduledCommand.objects.get()
    assert text.count("\n") == 1
    assert json.loads(text) == {"command_id": command.pk, "status": "scheduled"}
    assert (command.agent.agent_id, command.account.slug) == ("edge_1", "default")
    assert (command.command_type, command.payload) == ("set_rule", {"text": "hey 💙"})
    assert (command.delivery, command.created_by) == ("at_least_once", "command line")


def test_every_option_reaches_the_command(accounts: None) -> None:
    options = {
        "--deliver-at": "2030-01-01T12:00:00+02:00",
        "--expires-at": "2030-01-02T12:00:00Z",
        "--idempotency-key": "k",
        "--delivery": "at_most_once",
        "--priority": "immediate",
        "--account": "other",
    }
    arguments = ["edge_1", "set_rule", "{}", *[part for item in options.items() for part in item]]
    assert run(*arguments) == run(*arguments), "the same key, the same command"
    command = ScheduledCommand.objects.get()
    assert command.deliver_at.isoformat() == "2030-01-01T10:00:00+00:00"
    assert command.expires_at and command.expires_at.isoformat() == "2030-01-02T12:00:00+00:00"
    assert (command.idempotency_key, command.account.slug) == ("k", "other")
    assert (command.delivery, command.priority) == ("at_most_once", "immediate")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["edge_1", "t", "nonsense"], "payload: not JSON"),
        (["edge_1", "t", "[]"], "payload: it must be a JSON object"),
        (["edge_1", "t", "{}", "--deliver-at", "2030-01-01T12:00:00"], "deliver_at: "),
        (["edge_1", "t", "{}", "--expires-at", "soon"], "expires_at: "),
        (["edge_1", "t", "{}", "--delivery", "exactly_once"], "--delivery"),
        (["", "t", "{}"], "agent_id: "),
        (["edge_1", "t", "{}", "--account", "nowhere"], "account not found: nowhere"),
    ],
)
def test_a_refusal_is_plain(accounts: None, arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        run(*arguments)
    assert not ScheduledCommand.objects.exists()


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pattern_sends_to_every_known_agent_that_fits(accounts: None) -> None:
    for agent_id, account in [
        ("edge_1", "default"),
        ("edge_2", "default"),
        ("mac_1", "default"),
        ("edge_9", "other"),
    ]:
        Agent(agent_id, account).connect()
    screen = Screen()
    text = run("edge_*", "set_rule", "{}", "--matching", "--json", stderr=screen)
    answer = json.loads(text)
    assert [row["agent_id"] for row in answer["commands"]] == ["edge_1", "edge_2"]
    assert answer["refused"] == []
    rows = ScheduledCommand.objects.order_by("agent__agent_id")
    assert [row["command_id"] for row in answer["commands"]] == [row.pk for row in rows]
    assert screen.getvalue() == (f"\r[{'#' * 15}{' ' * 15}] 1/2\r[{'#' * 30}] 2/2\n")
    assert run("edge_*", "set_rule", "{}", "--matching") == "queued: 2\n"
    assert run("no*", "set_rule", "{}", "--matching") == "queued: 0\n"
