from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from sessions_app.models import Session


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("create_session", *arguments, stdout=out)
    return out.getvalue()


def test_it_says_what_it_made_in_one_line_of_json(accounts: None) -> None:
    text = run("k 1", "--user", "alice", "--json")
    session = Session.objects.get()
    assert text.count("\n") == 1
    assert json.loads(text) == {"id": session.public_id, "key": "k 1"}
    assert (session.owner, session.agent, session.account.slug) == ("alice", "echo", "default")


def test_it_speaks_to_people_too(accounts: None) -> None:
    assert run("k", "--user", "alice") == f"id: {Session.objects.get().public_id}\nkey: k\n"


def test_the_default_agent_is_a_setting(accounts: None, settings: Any) -> None:
    settings.DEFAULT_AGENT = "nobody"
    with pytest.raises(CommandError, match="agent not found: nobody"):
        run("k", "--user", "alice")
    run("k", "--user", "alice", "--agent", "echo")
    assert Session.objects.get().agent == "echo"


def test_an_account_may_be_named(accounts: None) -> None:
    run("k", "--user", "alice", "--account", "other")
    assert Session.objects.get().account.slug == "other"
    with pytest.raises(CommandError, match="account not found: nowhere"):
        run("k", "--user", "alice", "--account", "nowhere")


def test_a_key_that_is_taken_is_refused(accounts: None) -> None:
    run("k", "--user", "alice")
    with pytest.raises(CommandError, match="session exists already: k"):
        run("k", "--user", "bob")


def test_a_user_is_required(accounts: None) -> None:
    with pytest.raises(CommandError, match="--user"):
        run("k")
    with pytest.raises(CommandError, match="user_id is required"):
        run("k", "--user", "")
