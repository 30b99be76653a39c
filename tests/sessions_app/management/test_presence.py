from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from realtime.core.principal import Principal
from sessions_app.services import presence


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("presence", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def present(node: str, alice: Principal, other_alice: Principal) -> None:
    for connection, principal, group in [("1", alice, "g ü"), ("2", other_alice, "g ü")]:
        presence.arrive(
            principal=principal,
            connection=connection,
            node=node,
            protocol="aether",
            place=f"aether:{group}",
            client_id=f"of {principal.account}",
        )
    presence.arrive(principal=alice, connection="3", node=node, protocol="goclaw", place="goclaw")


def clients(*arguments: str) -> list[str | None]:
    return [one["client_id"] for one in json.loads(run(*arguments, "--json"))["members"]]


def test_it_says_who_is_here_in_one_line_of_json(present: None) -> None:
    text = run("--json")
    assert text.count("\n") == 1
    first, second = json.loads(text)["members"]
    assert list(first) == ["client_id", "user", "group", "protocol", "since", "last_seen"]
    assert (first["client_id"], first["user"]) == ("of default", "alice")
    assert (first["group"], first["protocol"]) == ("g ü", "aether")
    assert first["since"] <= first["last_seen"]
    assert (second["client_id"], second["group"], second["protocol"]) == (None, None, "goclaw")


def test_a_group_or_another_account_may_be_named(present: None) -> None:
    assert clients("--group", "g ü") == ["of default"]
    assert clients("--group", "g") == []
    assert clients("--account", "other") == ["of other"]


def test_it_speaks_to_people_too(present: None, settings: Any) -> None:
    first, second = run().splitlines()
    assert first.startswith("aether   of default  user alice  group g ü  since ")
    assert second.startswith("goclaw   -  user alice  group -  since ")
    assert run("--group", "empty") == "nobody is here\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--account", "nowhere"], "account not found: nowhere"), (["--group", "x" * 129], "group")],
)
def test_what_cannot_be_is_refused(accounts: None, arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        run(*arguments)
